//! Clients and a server in memory, in virtual time, on a network that loses and repeats frames.

mod overlap;
mod places;
pub(crate) mod server;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ipam::dhcp::wire::tests::{Asked, answer, asked};
use server::{ADDRESS as SERVER, LEASE, Server};

const LINK: Link = Link { ifindex: 3, vlan: 0 };
const NIC: Mac = Mac([2, 0, 0, 0, 0, 7]);
const ROUTER: Mac = server::MAC;
const SETTINGS: Settings = Settings {
    hardware: Hardware::Interface,
    patience: Patience { probe: Duration::from_secs(1), longest_pause: Duration::from_secs(16) },
};

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
    /// A pool gives an address, whoever may have it.
    Serve(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1_u16..200, any::<u64>()).prop_map(|(seconds, pattern)| Event::Time(seconds, pattern)),
        1 => any::<bool>().prop_map(Event::Switch),
        1 => Just(Event::Amnesia),
        1 => (0_u8..90).prop_map(Event::Restart),
        1 => (100_u8..104).prop_map(Event::Squat),
        2 => (0_u8..4, any::<bool>()).prop_map(|(number, wanted)| Event::Want(number, wanted)),
        1 => (100_u8..104).prop_map(Event::Serve),
    ];
    prop::collection::vec(event, 1..30)
}

struct World {
    clients: Clients,
    server: Server,
    squatters: BTreeSet<Ipv4Addr>,
    served: BTreeSet<Ipv4Addr>,
    wanted: BTreeSet<u8>,
    /// What the control loop has stored.
    stored: BTreeMap<NamespacedName, Lease>,
    now: Instant,
    moment: Timestamp,
}

fn stored(lease: &Lease, place: &Place) -> Stored {
    Stored { lease: lease.clone(), place: Some(place.clone()) }
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
            served: BTreeSet::new(),
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
            wishes.insert(lb.clone(), Wish::Release(stored(lease, &place)));
        }
        for lb in wanted {
            let stored = self.stored.get(&lb).map(|lease| stored(lease, &place));
            wishes.insert(lb, Wish::Keep { place: Ok(place.clone()), stored });
        }
        let wanted = Wanted { wishes, served: self.served.clone() };
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
        let remembered: Vec<Ipv4Addr> =
            self.clients.facts().into_values().filter_map(|state| Some(state.lease?.address)).collect();
        let distinct: BTreeSet<&Ipv4Addr> = remembered.iter().collect();
        prop_assert_eq!(distinct.len(), remembered.len(), "two leases of one address");
        for (lb, address) in held {
            prop_assert!(!self.served.contains(&address), "{} has the address of a pool", lb);
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
            Event::Serve(host) => {
                self.served.insert(Ipv4Addr::new(192, 0, 2, host));
                self.control();
                self.check()?;
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
        world.served.clear();
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
