//! Every transition of RFC 2131's figure 5, in virtual time.

mod keeping;

use super::super::message::Term;
use super::*;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const SERVER: Server = Server { address: Ipv4Addr::new(192, 0, 2, 1), mac: Mac([2, 0, 0, 0, 0, 1]) };
const OTHER: Server = Server { address: Ipv4Addr::new(192, 0, 2, 2), mac: Mac([2, 0, 0, 0, 0, 2]) };
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 99]);
const LEASE: Duration = Duration::from_secs(1000);
const PATIENCE: Patience = Patience { probe: Duration::from_secs(3), longest_pause: Duration::from_secs(64) };

/// A client and its clock.
struct Lab {
    machine: Machine,
    now: Instant,
}

impl Lab {
    fn new() -> Self {
        let now = Instant::now();
        Self { machine: Machine::new(PATIENCE, Entropy::new(1), None, now), now }
    }

    /// With an address for the time of [`LEASE`].
    fn bound() -> Self {
        let mut lab = Self::new();
        lab.until(Phase::Requesting);
        lab.answer(ReplyKind::Ack, SERVER);
        lab.until(Phase::Bound);
        lab.commands();
        lab
    }

    /// With an address from before a restart.
    fn rebooting() -> Self {
        let bound = Self::bound();
        let granted = *bound.machine.held().unwrap();
        Self { machine: Machine::resume(PATIENCE, Entropy::new(2), granted, bound.now), ..bound }
    }

    fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.machine.next_command()).collect()
    }

    /// The messages among them.
    fn sent(&mut self) -> Vec<(Request, Option<Server>)> {
        let message = |command| match command {
            Command::Send(request, server) => Some((request, server)),
            Command::Probe(_) | Command::Announce(_) => None,
        };
        self.commands().into_iter().filter_map(message).collect()
    }

    /// To the next thing that is due.
    fn step(&mut self) {
        self.now = self.machine.poll_timeout().expect("something is due").max(self.now);
        self.machine.handle_timeout(self.now);
    }

    /// Lets time go by, without answers but offers, until it is there.
    fn until(&mut self, phase: Phase) {
        for _ in 0..100 {
            if self.machine.phase() == Phase::Selecting && phase != Phase::Selecting {
                self.answer(ReplyKind::Offer, SERVER);
            }
            if self.machine.phase() == phase {
                return;
            }
            self.step();
        }
        panic!("{:?} instead of {phase:?}", self.machine.phase());
    }

    fn reply(&self, kind: ReplyKind, server: Server) -> Reply {
        Reply {
            kind,
            xid: self.machine.asking().map_or(0, |asking| asking.xid),
            hardware: Mac::default(),
            client_id: None,
            address: (kind != ReplyKind::Nak).then_some(ADDRESS),
            server: Some(server.address),
            mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            router: None,
            lease: Some(Term::For(LEASE)),
            renew: None,
            rebind: None,
        }
    }

    fn hear(&mut self, reply: &Reply, server: Server) {
        self.machine.handle_reply(reply, server.mac, |_| false, self.now);
    }

    fn answer(&mut self, kind: ReplyKind, server: Server) {
        self.hear(&self.reply(kind, server), server);
    }

    fn arp(&mut self, sender: Mac, claimed: Option<Ipv4Addr>, target: Ipv4Addr) {
        let arp = Arp { sender, claimed, target, is_request: claimed.is_none() };
        self.machine.handle_arp(&arp, self.now);
    }

    fn left(&self, end: Option<Instant>) -> Duration {
        end.unwrap() - self.now
    }
}

#[test]
fn an_address_is_asked_for_probed_announced_and_used() {
    let mut lab = Lab::new();
    lab.step();
    let [(discover, None)] = &lab.sent()[..] else { panic!("no discover") };
    assert_eq!((discover.kind, discover.requested, discover.using), (RequestKind::Discover, None, None));
    lab.answer(ReplyKind::Offer, SERVER);
    let asked = lab.now;
    let [(request, None)] = &lab.sent()[..] else { panic!("no request") };
    assert_eq!(
        (request.kind, request.requested, request.server, request.using),
        (RequestKind::Request, Some(ADDRESS), Some(SERVER.address), None)
    );
    lab.now += Duration::from_secs(1);
    lab.answer(ReplyKind::Ack, SERVER);
    for _ in 0..PROBES {
        assert_eq!((lab.machine.phase(), lab.machine.held()), (Phase::Probing, None));
        assert_eq!(lab.commands(), [Command::Probe(ADDRESS)]);
        lab.step();
    }
    assert_eq!(lab.now - asked, Duration::from_secs(1) + PATIENCE.probe);
    assert_eq!(lab.commands(), [Command::Announce(ADDRESS)]);
    let granted = *lab.machine.held().unwrap();
    assert_eq!((granted.address, granted.server), (ADDRESS, SERVER));
    assert_eq!(granted.expires_at, Some(asked + LEASE), "it is counted from the question on");
    assert_eq!(granted.rebind_at, Some(asked + LEASE * 7 / 8));
    lab.step();
    assert_eq!((lab.commands(), lab.machine.phase()), (vec![Command::Announce(ADDRESS)], Phase::Bound));
}

#[test]
fn nobody_answers_and_it_goes_on_asking_with_pauses_that_grow() {
    let mut lab = Lab::new();
    lab.step();
    let mut pauses = Vec::new();
    for _ in 0..50 {
        let before = lab.now;
        lab.step();
        pauses.push((lab.now - before).as_secs_f64());
        assert_eq!(lab.machine.phase(), Phase::Selecting);
    }
    for (pause, expected) in pauses.iter().zip([4.0, 8.0, 16.0, 32.0]) {
        assert!((pause - expected).abs() <= 1.0, "{pause} for {expected}");
    }
    assert!(pauses.iter().skip(4).all(|pause| (63.0..=65.0).contains(pause)), "{pauses:?}");
    assert!(
        pauses.windows(2).skip(5).any(|pair| (pair[0] - pair[1]).abs() > 0.01),
        "without jitter: {pauses:?}"
    );
    assert_eq!(lab.machine.problem(), Some(&Problem::NoAnswer));
    assert_eq!(lab.sent().len(), 51);
}

#[test]
fn an_offer_that_is_never_confirmed_is_given_up() {
    let mut lab = Lab::new();
    lab.until(Phase::Requesting);
    lab.commands();
    lab.until(Phase::Selecting);
    let kinds: Vec<RequestKind> = lab.sent().iter().map(|(request, _)| request.kind).collect();
    let three_more = [RequestKind::Request; 3];
    assert_eq!(kinds, [&three_more[..], &[RequestKind::Discover]].concat());
}

#[test]
fn a_refusal_of_what_was_offered_begins_anew_and_repeated_ones_are_no_storm() {
    let mut lab = Lab::new();
    let begun = lab.now;
    for _ in 0..10 {
        lab.until(Phase::Requesting);
        lab.answer(ReplyKind::Nak, SERVER);
        assert_eq!(lab.machine.phase(), Phase::Init);
    }
    assert!(lab.now - begun > Duration::from_secs(200), "{:?}", lab.now - begun);
    assert_eq!(lab.machine.problem(), Some(&Problem::Refused));
}

#[test]
fn only_the_chosen_server_confirms() {
    let mut lab = Lab::new();
    lab.until(Phase::Requesting);
    lab.answer(ReplyKind::Ack, OTHER);
    lab.answer(ReplyKind::Nak, OTHER);
    let elsewhere =
        Reply { address: Some(Ipv4Addr::new(192, 0, 2, 101)), ..lab.reply(ReplyKind::Ack, SERVER) };
    lab.hear(&elsewhere, SERVER);
    assert_eq!(lab.machine.phase(), Phase::Requesting);
    lab.answer(ReplyKind::Ack, SERVER);
    assert_eq!(lab.machine.phase(), Phase::Probing);
}

#[test]
fn what_was_not_asked_for_or_comes_twice_changes_nothing() {
    let mut lab = Lab::new();
    lab.until(Phase::Selecting);
    lab.commands();
    let offer = lab.reply(ReplyKind::Offer, SERVER);
    lab.hear(&Reply { xid: offer.xid ^ 1, ..offer.clone() }, SERVER);
    lab.hear(&lab.reply(ReplyKind::Ack, SERVER), SERVER);
    lab.hear(&lab.reply(ReplyKind::Nak, SERVER), SERVER);
    for broken in [
        Reply { address: None, ..offer.clone() },
        Reply { address: Some(Ipv4Addr::BROADCAST), ..offer.clone() },
        Reply { server: None, ..offer.clone() },
        Reply { lease: None, ..offer.clone() },
        Reply { lease: Some(Term::For(Duration::ZERO)), ..offer.clone() },
    ] {
        lab.hear(&broken, SERVER);
    }
    assert_eq!((lab.machine.phase(), lab.commands().len()), (Phase::Selecting, 0));
    lab.hear(&offer, SERVER);
    let ack = lab.reply(ReplyKind::Ack, SERVER);
    lab.hear(&offer, SERVER);
    assert_eq!((lab.machine.phase(), lab.commands().len()), (Phase::Requesting, 1));
    lab.hear(&ack, SERVER);
    lab.hear(&ack, SERVER);
    assert_eq!((lab.machine.phase(), lab.commands().len()), (Phase::Probing, 1));
    lab.until(Phase::Bound);
    let held = *lab.machine.held().unwrap();
    lab.hear(&ack, SERVER);
    lab.hear(&Reply { kind: ReplyKind::Nak, ..ack }, SERVER);
    assert_eq!(lab.machine.held(), Some(&held));
}

#[test]
fn another_address_is_no_answer_to_a_renewal() {
    let mut lab = Lab::bound();
    lab.until(Phase::Renewing);
    let held = *lab.machine.held().unwrap();
    let other = Reply { address: Some(Ipv4Addr::new(192, 0, 2, 101)), ..lab.reply(ReplyKind::Ack, SERVER) };
    lab.hear(&other, SERVER);
    assert_eq!((lab.machine.phase(), lab.machine.held()), (Phase::Renewing, Some(&held)));
}

#[test]
fn an_address_that_somebody_has_is_declined_and_another_asked_for_later() {
    for (claimed, target) in [(Some(ADDRESS), Ipv4Addr::new(192, 0, 2, 50)), (None, ADDRESS)] {
        let mut lab = Lab::new();
        lab.until(Phase::Requesting);
        lab.answer(ReplyKind::Ack, SERVER);
        lab.commands();
        lab.arp(STRANGER, Some(Ipv4Addr::new(192, 0, 2, 7)), ADDRESS);
        assert_eq!(lab.machine.phase(), Phase::Probing, "who only asks for it has it not");
        lab.arp(STRANGER, claimed, target);
        let sent = lab.sent();
        let [(decline, None)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(
            (decline.kind, decline.requested, decline.server, decline.using),
            (RequestKind::Decline, Some(ADDRESS), Some(SERVER.address), None)
        );
        assert_eq!(lab.machine.problem(), Some(&Problem::Conflict(ADDRESS, STRANGER)));
        let declined = lab.now;
        lab.until(Phase::Selecting);
        assert_eq!(lab.now - declined, DECLINE_PAUSE);
        assert_eq!(lab.sent()[0].0.requested, None);
    }
}

#[test]
fn an_address_in_use_is_defended_but_not_in_a_war() {
    let mut lab = Lab::bound();
    for _ in 0..5 {
        lab.arp(STRANGER, Some(ADDRESS), ADDRESS);
    }
    assert_eq!(lab.commands(), [Command::Announce(ADDRESS)]);
    assert_eq!(lab.machine.problem(), Some(&Problem::Conflict(ADDRESS, STRANGER)));
    assert!(lab.machine.held().is_some());
    lab.arp(STRANGER, Some(Ipv4Addr::new(192, 0, 2, 7)), ADDRESS);
    lab.now += DEFEND_INTERVAL;
    lab.arp(STRANGER, Some(ADDRESS), ADDRESS);
    assert_eq!(lab.commands(), [Command::Announce(ADDRESS)]);
}

#[test]
fn what_another_load_balancer_has_is_not_taken() {
    let mut lab = Lab::new();
    lab.until(Phase::Selecting);
    lab.commands();
    let offer = lab.reply(ReplyKind::Offer, SERVER);
    lab.machine.handle_reply(&offer, SERVER.mac, |address| address == ADDRESS, lab.now);
    assert_eq!((lab.machine.phase(), lab.commands().len()), (Phase::Selecting, 0));
    assert_eq!(lab.machine.problem(), Some(&Problem::Taken(ADDRESS)));
}

#[test]
fn a_clock_that_jumps_leaves_no_address_behind_its_lease() {
    for jump in [LEASE, LEASE * 100] {
        let mut lab = Lab::bound();
        lab.now += jump;
        lab.machine.handle_timeout(lab.now);
        assert_eq!((lab.machine.phase(), lab.machine.held()), (Phase::Selecting, None));
    }
    let mut lab = Lab::bound();
    lab.now += LEASE * 15 / 16;
    lab.machine.handle_timeout(lab.now);
    assert_eq!(lab.machine.phase(), Phase::Rebinding);
    assert!(lab.machine.held().is_some());
}

#[test]
fn an_endless_lease_is_never_asked_about() {
    let mut lab = Lab::new();
    lab.until(Phase::Requesting);
    let endless = Reply { lease: Some(Term::Endless), ..lab.reply(ReplyKind::Ack, SERVER) };
    lab.hear(&endless, SERVER);
    lab.until(Phase::Bound);
    lab.step();
    assert_eq!(lab.machine.poll_timeout(), None);
    assert_eq!(lab.machine.held().unwrap().expires_at, None);
}

#[test]
fn times_of_the_server_are_followed_where_they_make_sense() {
    let seconds = |seconds| Some(Term::For(Duration::from_secs(seconds)));
    for (renew, rebind, expected) in [
        (seconds(160), seconds(320), (160, 320)),
        (seconds(320), seconds(160), (90, 160)),
        (None, Some(Term::Endless), (500, 875)),
        (seconds(0), seconds(1000), (500, 875)),
    ] {
        let mut lab = Lab::new();
        lab.until(Phase::Requesting);
        let asked = lab.now;
        lab.hear(&Reply { renew, rebind, ..lab.reply(ReplyKind::Ack, SERVER) }, SERVER);
        lab.until(Phase::Bound);
        let granted = lab.machine.held().unwrap();
        let renew = granted.renew_at.unwrap() - asked;
        let (latest, rebind) = (Duration::from_secs(expected.0), Duration::from_secs(expected.1));
        assert!(latest * 15 / 16 <= renew && renew <= latest, "{renew:?} for {latest:?}");
        assert_eq!(granted.rebind_at.unwrap() - asked, rebind);
    }
}

#[test]
fn a_lease_is_given_back_to_its_server() {
    let mut lab = Lab::bound();
    lab.machine.release(lab.now);
    let sent = lab.sent();
    let [(release, Some(SERVER))] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(
        (release.kind, release.using, release.requested, release.server),
        (RequestKind::Release, Some(ADDRESS), None, Some(SERVER.address))
    );
    assert_eq!((lab.machine.phase(), lab.machine.held()), (Phase::Released, None));
    assert_eq!(lab.machine.poll_timeout(), None);
    let mut without = Lab::new();
    without.machine.release(without.now);
    assert_eq!(without.commands(), []);
}
