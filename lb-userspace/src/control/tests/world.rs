//! An agent without tasks: the real registry, admission, control loop and DHCP clients, in virtual time, between a
//! store and a datapath in memory and a DHCP server that lends addresses of a pool's range, too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;

use super::stand::{Fate, Maps, Shelf};
use crate::config::{Dhcp, Interfaces, Inventory};
use crate::control::admission::Intent;
use crate::control::cycle::{Cycle, Facts, Questions};
use crate::control::hold::Stations;
use crate::control::plan::{Capacity, Planner};
use crate::control::registry::tests::owners;
use crate::control::registry::{Registry, Submission};
use crate::control::resources::Resources;
use crate::control::sample::{self, ETH0, IN0, station};
use crate::control::select::tests::vm;
use crate::datapath::model::{BackendState, ListenerAddress, Observed, Placement, Table, VipPolicy};
use crate::health::model::{Health, Reason, Snapshot};
use crate::inventory::links::{Addresses, Topology};
use crate::ipam::dhcp::clients::tests::server::Server;
use crate::ipam::dhcp::clients::{Clients, Settings};
use crate::ipam::dhcp::machine::Patience;
use crate::ipam::dhcp::model::{Hardware, identity};
use crate::ipam::dhcp::wire::tests::asked;
use crate::model::vm::VirtualMachines;
use crate::store::Store as _;
use lb_common::net::Mac;

const SETTINGS: Settings = Settings {
    hardware: Hardware::Interface,
    patience: Patience { probe: Duration::from_secs(1), longest_pause: Duration::from_secs(16) },
};
/// More exchanges than any change takes to come to rest.
const ROUNDS: u32 = 60;

type Verdict = Result<(), TestCaseError>;

pub(super) struct World {
    pub(super) shelf: Shelf,
    pub(super) maps: Maps,
    registry: Registry,
    cycle: Cycle<Maps>,
    clients: Clients,
    pub(super) server: Server,
    /// The last bytes of the addresses of running VMs.
    pub(super) vms: BTreeSet<u8>,
    /// Whether the inventory has been read since the agent started.
    is_read: bool,
    /// Whether it can be read.
    pub(super) is_readable: bool,
    /// Whether the interface is there that addresses are leased on.
    pub(super) is_wired: bool,
    /// What a client asks of the API when leases are about to be stored.
    pub(super) meanwhile: Option<Intent>,
    health: Snapshot,
    settled: Addresses,
    /// What was last found to be as a fresh agent would make it.
    checked: Option<(Facts, Observed)>,
    now: Instant,
    moment: Timestamp,
}

fn cycle(maps: Maps) -> Cycle<Maps> {
    let planner = Planner::new(Capacity { listeners: 32, backends: 1024 }, 7);
    let interfaces = Interfaces { uplinks: Some(vec!["eth0".to_owned()]), ..Interfaces::default() };
    Cycle::new(maps, planner, interfaces, 251, Stations::new(Inventory::HOLD_DOWN))
        .with_dhcp(Dhcp { interface: Some("in0".to_owned()), ..Dhcp::default() })
}

fn agent(shelf: &Shelf, maps: &Maps, seed: u64) -> (Registry, Cycle<Maps>, Clients) {
    let registry = Registry::open(Box::new(shelf.clone())).unwrap();
    (registry, cycle(maps.clone()), Clients::new(SETTINGS, seed))
}

impl World {
    pub(super) fn new() -> Self {
        let (shelf, maps) = (Shelf::default(), Maps::default());
        let (registry, cycle, clients) = agent(&shelf, &maps, 1);
        Self {
            shelf,
            maps,
            registry,
            cycle,
            clients,
            server: Server::default(),
            vms: BTreeSet::from([11, 12]),
            is_read: false,
            is_readable: true,
            is_wired: true,
            meanwhile: None,
            health: Snapshot::new(),
            settled: Addresses::new(),
            checked: None,
            now: Instant::now(),
            moment: Timestamp::from_second(1_700_000_000).unwrap(),
        }
    }

    pub(super) fn resources(&self) -> Arc<Resources> {
        self.registry.snapshot()
    }

    /// What a client asks of the API; refusals are answers as good as others.
    pub(super) fn submit(&self, intents: &[Intent]) {
        drop(self.registry.submit(&Submission { intents, manager: "test", dry_run: false }));
    }

    /// The agent is killed, and starts again later.
    pub(super) fn restart(&mut self, seconds: u8) {
        self.shelf.decide(Fate::Stored);
        self.maps.limit(None);
        self.wait(Duration::from_secs(seconds.into()));
        (self.registry, self.cycle, self.clients) =
            agent(&self.shelf, &self.maps, self.now.elapsed().as_secs());
        (self.is_read, self.health, self.settled) = (false, Snapshot::new(), Addresses::new());
        self.checked = None;
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.moment += jiff::SignedDuration::try_from(time).unwrap();
    }

    fn facts(&self) -> Facts {
        let web =
            |host: &u8| vm("shop", &format!("web-{host}"), &[("app", "web")], &format!("192.0.2.{host}"));
        let vms: VirtualMachines = self.vms.iter().map(web).map(|vm| (vm.key(), vm.into())).collect();
        Facts {
            resources: self.registry.snapshot(),
            virtual_machines: self.is_read.then(|| vms.into()),
            health: self.health.clone(),
            topology: self.topology().into(),
            leases: self.clients.facts(),
        }
    }

    fn topology(&self) -> Topology {
        let mut topology = sample::vm_host();
        if !self.is_wired {
            topology.links.remove(&IN0);
        }
        for host in 11..=13 {
            sample::reach(&mut topology, [192, 0, 2, host].into(), ETH0, None, station(host));
        }
        topology.settled.clone_from(&self.settled);
        topology
    }

    /// Turns of the control loop and frames, until nothing moves any more.
    pub(super) fn settle(&mut self, pattern: &mut u64) -> Verdict {
        self.is_read |= self.is_readable;
        for _ in 0..ROUNDS {
            let facts = self.facts();
            let mut asked = Questions::default();
            let wishes = self.cycle.turn(&facts, self.now, self.moment, |questions| asked = questions);
            self.check_leased()?;
            self.clients.handle_wanted(&wishes.leases, self.now, self.moment);
            let is_quiet = !self.exchange(pattern);
            let ready = Health { ready: true, reason: Reason::NotChecked };
            self.health = asked.probes.iter().map(|(backend, _)| (backend, ready.clone())).collect();
            self.settled.clone_from(&asked.addresses);
            let statuses = self.cycle.statuses(&facts, self.moment);
            if !statuses.leases.is_empty()
                && let Some(intent) = self.meanwhile.take()
            {
                self.submit(&[intent]);
            }
            drop(self.registry.write_status(statuses));
            let after = self.facts();
            let is_stored = Arc::ptr_eq(&facts.resources, &after.resources);
            if !is_stored || self.checked.is_none() {
                self.check()?;
            }
            let is_same = is_stored
                && (facts.health == after.health)
                && (facts.topology == after.topology)
                && (facts.leases == after.leases);
            if is_quiet && is_same {
                return self.check_datapath(&facts);
            }
        }
        Err(TestCaseError::fail("it never comes to rest"))
    }

    /// Carries frames once. Two bits of the pattern decide about each: it is lost, comes once, or twice.
    fn exchange(&mut self, pattern: &mut u64) -> bool {
        let frames = self.clients.take_frames();
        for (link, frame) in &frames {
            *pattern = pattern.rotate_left(7).wrapping_mul(3);
            let copies = match *pattern & 7 {
                0 => 0,
                1 => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let answer = asked(frame).and_then(|asked| self.server.answer(&asked, self.now));
                if let Some(answer) = answer {
                    self.clients.handle_frame(*link, &answer, self.now, self.moment);
                }
            }
        }
        !frames.is_empty()
    }

    /// Lets time go by, in steps of what is due.
    pub(super) fn run(&mut self, seconds: u16, mut pattern: u64) -> Verdict {
        let end = self.now + Duration::from_secs(seconds.into());
        self.settle(&mut pattern)?;
        while self.now < end {
            let due = [self.clients.poll_timeout(), self.cycle.poll_timeout()].into_iter().flatten().min();
            let next = due.unwrap_or(end).clamp(self.now, end);
            // Nothing is due in the same moment for ever.
            self.wait((next - self.now).max(Duration::from_millis(1)));
            self.clients.handle_timeout(self.now, self.moment);
            self.settle(&mut pattern)?;
        }
        Ok(())
    }

    /// What holds at any moment.
    fn check(&self) -> Verdict {
        let resources = self.registry.snapshot();
        owners::check(&resources).map_err(TestCaseError::fail)?;
        let (stored, broken) =
            Resources::from_records(self.shelf.revision().unwrap(), &self.shelf.load().unwrap());
        prop_assert!(broken.is_empty(), "{:?}", broken);
        prop_assert_eq!(&stored, &*resources, "what is stored is not what is known");
        let mut vips = BTreeSet::new();
        let owners = resources.load_balancers.values().filter(|object| object.shares_address_of().is_none());
        let announced = owners.map(|object| &object.status.address);
        for address in announced.filter(|address| !address.is_empty()) {
            prop_assert!(vips.insert(address), "{} is told twice", address);
        }
        Ok(())
    }

    /// After a turn, what is served by leases is leased.
    fn check_leased(&self) -> Verdict {
        let observed = self.maps.observed();
        let leased = observed.vips.iter().filter(|(_, policy)| policy.leased);
        for (vip, _) in leased {
            if let IpAddr::V4(address) = vip {
                self.check_lent(*address)?;
            }
        }
        Ok(())
    }

    /// An address that is served by a lease is lent to a load balancer now.
    fn check_lent(&self, address: Ipv4Addr) -> Verdict {
        let (facts, resources) = (self.clients.facts(), self.registry.snapshot());
        let holder = facts.iter().find(|(_, state)| state.address() == Some(address)).map(|(lb, _)| lb);
        // A client that has just been started has not told anything yet.
        let mut stored = resources.leases.iter().filter(|(lb, _)| !facts.contains_key(lb));
        let holder = holder.or_else(|| stored.find(|(_, lease)| lease.address == address).map(|(lb, _)| lb));
        let Some(holder) = holder else {
            return Err(TestCaseError::fail(format!("{address} is served, and nobody has leased it")));
        };
        let client_id = identity(holder, SETTINGS.hardware, Mac::default()).client_id;
        let lent = self.server.leases.get(&client_id);
        prop_assert!(
            lent.is_some_and(|(lent, end)| *lent == address && *end >= self.now),
            "{} is served for {}, whose lease is {:?} at {:?}",
            address,
            holder,
            lent,
            self.now
        );
        Ok(())
    }

    /// The datapath is what an agent would make that finds nothing but the store.
    fn check_datapath(&mut self, facts: &Facts) -> Verdict {
        if facts.virtual_machines.is_none() {
            return Ok(());
        }
        let observed = self.maps.observed();
        let is_known = |(known, maps): &(Facts, Observed)| {
            Arc::ptr_eq(&known.resources, &facts.resources)
                && known.virtual_machines == facts.virtual_machines
                && known.topology == facts.topology
                && known.leases == facts.leases
                && *maps == observed
        };
        if !self.checked.as_ref().is_some_and(is_known) {
            let fresh = Maps::default();
            cycle(fresh.clone()).turn(facts, self.now, self.moment, drop);
            prop_assert_eq!(view(&observed), view(&fresh.observed()));
            self.checked = Some((facts.clone(), observed));
        }
        Ok(())
    }

    /// When all is well, who wants an address has one, or there is none to have; nothing is left behind.
    pub(super) fn check_end(&self) -> Verdict {
        let resources = self.registry.snapshot();
        for (lb, object) in &resources.load_balancers {
            if object.takes_lease() {
                prop_assert!(
                    !object.status.address.is_empty(),
                    "{} has no lease: {:?}",
                    lb,
                    self.clients.facts()
                );
                prop_assert!(resources.leases.contains_key(lb), "the lease of {} is not stored", lb);
            } else if object.status.allocated_address.is_none()
                && let Some(pool) = resources.pools.get(&object.spec.ip_pool)
            {
                let pool_has = pool.check_spec().unwrap();
                let taken: BTreeSet<IpAddr> =
                    pool.status.allocated.keys().map(|text| text.parse().unwrap()).collect();
                let lent: BTreeSet<IpAddr> =
                    resources.leases.values().map(|lease| lease.address.into()).collect();
                let mut all = pool_has.ranges.iter().flat_map(|range| range.span.iter());
                let free = all.find(|a| !pool_has.is_gateway(*a) && !taken.contains(a) && !lent.contains(a));
                prop_assert_eq!(free, None, "{} waits for an address that nobody has", lb);
            }
        }
        let orphans: Vec<_> =
            resources.leases.keys().filter(|lb| !resources.load_balancers.contains_key(lb)).collect();
        prop_assert!(orphans.is_empty(), "leases of nobody: {:?}", orphans);
        Ok(())
    }
}

/// What clients find, whatever ids and indices are: VIPs, listeners, their slots, and the backends that take flows.
type View = (
    BTreeMap<IpAddr, VipPolicy>,
    BTreeMap<ListenerAddress, Vec<SocketAddr>>,
    BTreeMap<(Option<ListenerAddress>, SocketAddr), (Placement, u16)>,
);

fn view(observed: &Observed) -> View {
    let listener = |index| {
        observed.listeners.iter().find(|(_, entry)| entry.index == index).map(|(address, _)| *address)
    };
    let slots = observed.listeners.iter().map(|(address, entry)| {
        let table = observed.tables.get(&entry.index);
        let table = table.into_iter().flat_map(Table::iter).take(entry.slots as usize);
        (*address, table.map(|id| observed.backends[&id].address).collect())
    });
    let active = observed.backends.values().filter(|backend| backend.state == BackendState::Active);
    let active = active.map(|b| ((listener(b.listener), b.address), (b.placement, b.weight)));
    (observed.vips.clone(), slots.collect(), active.collect())
}
