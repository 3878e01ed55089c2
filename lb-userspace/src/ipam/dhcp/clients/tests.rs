//! Clients and a server in memory, in virtual time, on a network that loses and repeats frames.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ipam::dhcp::wire::tests::{Asked, answer, asked};

const LINK: Link = Link { ifindex: 3, vlan: 0 };
const NIC: Mac = Mac([2, 0, 0, 0, 0, 7]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// In seconds.
const LEASE: u64 = 60;
const SETTINGS: Settings = Settings {
    hardware: Hardware::Interface,
    patience: Patience { probe: Duration::from_secs(1), longest_pause: Duration::from_secs(16) },
};

/// A server that keys leases by client identifier, as RFC 2131 has it.
#[derive(Default)]
struct Server {
    /// Until when, by client.
    leases: BTreeMap<Vec<u8>, (Ipv4Addr, Instant)>,
    declined: BTreeSet<Ipv4Addr>,
    is_gone: bool,
}

impl Server {
    fn free(&self, now: Instant) -> Option<Ipv4Addr> {
        let is_lent = |address| self.leases.values().any(|(lent, end)| *lent == address && *end > now);
        (100..=109)
            .map(|host| Ipv4Addr::new(192, 0, 2, host))
            .find(|address| !is_lent(*address) && !self.declined.contains(address))
    }

    /// The answer to a message, which may be none.
    fn answer(&mut self, asked: &Asked, now: Instant) -> Option<Vec<u8>> {
        if self.is_gone {
            return None;
        }
        let own =
            self.leases.get(&asked.client_id).filter(|(_, end)| *end > now).map(|(address, _)| *address);
        let (kind, address) = match asked.kind {
            1 => (2, own.or_else(|| self.free(now))?),
            3 => {
                let wanted = asked.requested.or(asked.using)?;
                let is_free = self.free_of(wanted, &asked.client_id, now);
                if own.is_none_or(|own| own == wanted) && is_free {
                    (5, wanted)
                } else {
                    (6, Ipv4Addr::UNSPECIFIED)
                }
            }
            4 => {
                self.declined.extend(asked.requested);
                self.leases.remove(&asked.client_id);
                return None;
            }
            _ => {
                self.leases.remove(&asked.client_id);
                return None;
            }
        };
        if kind == 5 {
            self.leases.insert(asked.client_id.clone(), (address, now + Duration::from_secs(LEASE)));
        }
        let lease = u32::try_from(LEASE).unwrap().to_be_bytes();
        Some(answer(asked, ROUTER, kind, address, SERVER, lease))
    }

    fn free_of(&self, wanted: Ipv4Addr, client: &[u8], now: Instant) -> bool {
        !self.declined.contains(&wanted)
            && !self
                .leases
                .iter()
                .any(|(other, (lent, end))| other != client && *lent == wanted && *end > now)
    }
}

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    /// Frames go both ways for so many seconds; each is lost or comes twice as the pattern says.
    Time(u16, u64),
    /// The server goes, or comes back.
    Switch(bool),
    /// The server forgets everything that it lent.
    Amnesia,
    /// The agent is killed and starts again, so many seconds later.
    Restart(u8),
    /// Somebody uses an address without asking.
    Squat(u8),
    /// A load balancer is created, or deleted.
    Want(u8, bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1_u16..200, any::<u64>()).prop_map(|(seconds, pattern)| Event::Time(seconds, pattern)),
        1 => any::<bool>().prop_map(Event::Switch),
        1 => Just(Event::Amnesia),
        1 => (0_u8..90).prop_map(Event::Restart),
        1 => (100_u8..104).prop_map(Event::Squat),
        2 => (0_u8..4, any::<bool>()).prop_map(|(number, wanted)| Event::Want(number, wanted)),
    ];
    prop::collection::vec(event, 1..30)
}

struct World {
    clients: Clients,
    server: Server,
    squatters: BTreeSet<Ipv4Addr>,
    wanted: BTreeSet<u8>,
    /// What the control loop has stored.
    stored: BTreeMap<NamespacedName, Lease>,
    now: Instant,
    moment: Timestamp,
}

fn key(number: u8) -> NamespacedName {
    NamespacedName::new("shop", format!("lb{number}"))
}

impl World {
    fn new() -> Self {
        Self {
            clients: Clients::new(SETTINGS, 1),
            server: Server::default(),
            squatters: BTreeSet::new(),
            wanted: BTreeSet::new(),
            stored: BTreeMap::new(),
            now: Instant::now(),
            moment: Timestamp::from_second(1_700_000_000).unwrap(),
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.moment += jiff::SignedDuration::try_from(time).unwrap();
    }

    /// What the control loop does with facts, and what it then wants.
    fn control(&mut self) {
        for (lb, state) in self.clients.facts() {
            match state.lease {
                Some(lease) => self.stored.insert(lb, lease),
                None => self.stored.remove(&lb),
            };
        }
        let place = Place { interface: "eth0".to_owned(), mac: NIC, link: LINK };
        let wanted: BTreeSet<NamespacedName> = self.wanted.iter().copied().map(key).collect();
        let mut wishes = BTreeMap::new();
        for (lb, lease) in &self.stored {
            wishes.insert(lb.clone(), Wish::Release { place: Some(place.clone()), stored: lease.clone() });
        }
        for lb in wanted {
            let stored = self.stored.get(&lb).cloned();
            wishes.insert(lb, Wish::Keep { place: Ok(place.clone()), stored });
        }
        let wanted = Wanted { wishes, served: BTreeSet::new() };
        self.clients.handle_wanted(&wanted, self.now, self.moment);
    }

    /// Carries frames until there are none. Two bits of the pattern decide about each.
    fn exchange(&mut self, pattern: &mut u64) {
        for _ in 0..100 {
            let frames = self.clients.take_frames();
            if frames.is_empty() {
                return;
            }
            for (_, frame) in frames {
                *pattern = pattern.rotate_left(7).wrapping_mul(3);
                let copies = match *pattern & 7 {
                    0 => 0,
                    1 => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    self.carry(&frame);
                }
            }
        }
    }

    fn carry(&mut self, frame: &[u8]) {
        if let Some(Heard::Arp(Arp { claimed: None, target, .. })) = frame::decode(frame) {
            if self.squatters.contains(&target) {
                let claim = frame::announcement(target, Mac([2, 0, 0, 0, 0, 99]), 0);
                self.clients.handle_frame(LINK, &claim, self.now, self.moment);
            }
        } else if let Some(asked) = asked(frame)
            && let Some(answer) = self.server.answer(&asked, self.now)
        {
            self.clients.handle_frame(LINK, &answer, self.now, self.moment);
        }
    }

    /// Lets time go by, in steps of what is due.
    fn run(&mut self, seconds: u16, mut pattern: u64) -> Result<(), TestCaseError> {
        let end = self.now + Duration::from_secs(seconds.into());
        while self.now < end {
            self.exchange(&mut pattern);
            self.control();
            self.exchange(&mut pattern);
            self.check()?;
            let next = self.clients.poll_timeout().unwrap_or(end).clamp(self.now, end);
            self.wait(next - self.now);
            self.clients.handle_timeout(self.now, self.moment);
            self.check()?;
        }
        Ok(())
    }

    fn held(&self) -> BTreeMap<NamespacedName, Ipv4Addr> {
        let held = self.clients.facts().into_iter();
        held.filter_map(|(lb, state)| state.address().map(|address| (lb, address))).collect()
    }

    /// Who uses an address has it, and has it alone.
    fn check(&self) -> Result<(), TestCaseError> {
        let held = self.held();
        let addresses: BTreeSet<Ipv4Addr> = held.values().copied().collect();
        prop_assert_eq!(addresses.len(), held.len(), "an address with two owners");
        for (lb, address) in held {
            let client_id = identity(&lb, SETTINGS.hardware, NIC).client_id;
            let lent = self.server.leases.get(&client_id);
            prop_assert!(
                lent.is_some_and(|(lent, end)| *lent == address && *end >= self.now),
                "{} uses {}, lent: {:?} at {:?}",
                lb,
                address,
                lent,
                self.now
            );
        }
        Ok(())
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Time(seconds, pattern) => return self.run(seconds, pattern),
            Event::Switch(is_gone) => self.server.is_gone = is_gone,
            Event::Amnesia => {
                // It knows again who comes and says so; and it gives nothing to others before that.
                self.server.is_gone = true;
                self.run(u16::try_from(LEASE).unwrap() + 1, 5)?;
                self.server =
                    Server { declined: std::mem::take(&mut self.server.declined), ..Server::default() };
            }
            Event::Restart(seconds) => {
                self.control();
                self.clients = Clients::new(SETTINGS, u64::from(seconds));
                self.wait(Duration::from_secs(seconds.into()));
                self.control();
                self.check()?;
            }
            Event::Squat(host) => {
                let address = Ipv4Addr::new(192, 0, 2, host);
                if !self.held().values().any(|held| *held == address) {
                    self.squatters.insert(address);
                }
            }
            Event::Want(number, true) => drop(self.wanted.insert(number)),
            Event::Want(number, false) => drop(self.wanted.remove(&number)),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_an_address_in_use_is_lent_and_has_one_owner(events in events()) {
        let mut world = World::new();
        for event in &events {
            world.happen(event)?;
        }
        // In the end all is well again.
        world.server.is_gone = false;
        world.squatters.clear();
        world.server.declined.clear();
        world.run(600, u64::MAX)?;
        world.control();
        let owners: BTreeSet<NamespacedName> = world.held().into_keys().collect();
        let wanted: BTreeSet<NamespacedName> = world.wanted.iter().copied().map(key).collect();
        prop_assert_eq!(owners, wanted.clone());
        // Nothing is left behind.
        prop_assert_eq!(world.stored.into_keys().collect::<BTreeSet<_>>(), wanted);
    }
}

#[test]
fn a_restart_gets_the_same_address_even_after_its_lease() {
    let mut world = World::new();
    world.wanted.extend([0, 1]);
    world.run(30, u64::MAX).unwrap();
    let before = world.held();
    assert_eq!(before.len(), 2);
    for pause in [5, 200] {
        world.happen(&Event::Restart(pause)).unwrap();
        world.run(30, u64::MAX).unwrap();
        assert_eq!(world.held(), before, "after {pause} s");
    }
}

#[test]
fn a_message_to_another_client_on_the_link_is_not_taken() {
    let mut world = World::new();
    world.wanted.extend([0, 1]);
    world.control();
    world.wait(Duration::from_secs(1));
    world.clients.handle_timeout(world.now, world.moment);
    let discovers = world.clients.take_frames();
    let first = asked(&discovers[0].1).unwrap();
    let address = Ipv4Addr::new(192, 0, 2, 100);
    let stranger = Asked { client_id: b"\0shop/lb1".to_vec(), ..first.clone() };
    let wrong = answer(&stranger, ROUTER, 2, address, SERVER, [0, 0, 0, 60]);
    world.clients.handle_frame(LINK, &wrong, world.now, world.moment);
    let elsewhere = answer(&first, ROUTER, 2, address, SERVER, [0, 0, 0, 60]);
    world.clients.handle_frame(Link { vlan: 7, ..LINK }, &elsewhere, world.now, world.moment);
    assert_eq!(world.clients.take_frames(), []);
    world.clients.handle_frame(LINK, &elsewhere, world.now, world.moment);
    assert_eq!(world.clients.take_frames().len(), 1, "a request");
}

#[test]
fn what_a_pool_gave_is_declined() {
    let mut world = World::new();
    world.wanted.insert(0);
    world.control();
    let place = Place { interface: "eth0".to_owned(), mac: NIC, link: LINK };
    let served = BTreeSet::from([Ipv4Addr::new(192, 0, 2, 100)]);
    let wishes = BTreeMap::from([(key(0), Wish::Keep { place: Ok(place), stored: None })]);
    let wanted = Wanted { wishes, served };
    for _ in 0..60 {
        world.clients.handle_wanted(&wanted, world.now, world.moment);
        world.exchange(&mut u64::MAX.clone());
        world.wait(Duration::from_secs(1));
        world.clients.handle_timeout(world.now, world.moment);
    }
    assert_eq!(world.server.declined, BTreeSet::from([Ipv4Addr::new(192, 0, 2, 100)]));
    assert_eq!(world.held(), BTreeMap::from([(key(0), Ipv4Addr::new(192, 0, 2, 101))]));
}

#[test]
fn another_network_gets_another_address_and_the_old_one_back() {
    let mut world = World::new();
    world.wanted.insert(0);
    world.run(10, u64::MAX).unwrap();
    let place = Place { interface: "eth0".to_owned(), mac: NIC, link: Link { vlan: 7, ..LINK } };
    let stored = world.stored.get(&key(0)).cloned();
    let wish = Wish::Keep { place: Ok(place.clone()), stored };
    let wanted = Wanted { wishes: BTreeMap::from([(key(0), wish)]), served: BTreeSet::new() };
    world.clients.handle_wanted(&wanted, world.now, world.moment);
    let frames = world.clients.take_frames();
    let kinds: Vec<(Link, u8)> =
        frames.iter().filter_map(|(link, frame)| Some((*link, asked(frame)?.kind))).collect();
    assert_eq!(kinds, [(LINK, 7)], "a release where it was");
    assert!(world.held().is_empty());
    assert_eq!(world.clients.links(), BTreeSet::from([place.link]));
}
