//! Turns over a datapath in memory.

mod following;
mod holding;
mod leases;
mod unknown;

use super::*;
use crate::config::{InterfacePattern, Inventory, Network};
use crate::control::plan::Capacity;
use crate::control::resources::Resources;
use crate::control::sample::{self, BRIDGE, ETH0, station};
use crate::control::select::tests::{checked_lb, raw_lb, vm, vms};
use crate::datapath::memory::Memory;
use crate::datapath::model::{Mac, Observed, Table};
use crate::health::model::{Backend, Health, Reason, Snapshot};
use crate::ipam::dhcp::model::Facts as Leases;
use crate::model::ip_pool::IpPool;
use crate::model::load_balancer::{AllocatedAddress, LoadBalancer};

const FIRST: [u8; 4] = [192, 0, 2, 11];
const SECOND: [u8; 4] = [192, 0, 2, 12];

fn cycle() -> Cycle<Memory> {
    let planner = Planner::new(Capacity { listeners: 8, backends: 8 }, 1);
    let interfaces = Interfaces {
        uplinks: Some(vec!["eth0".to_owned()]),
        vm_ports: vec![InterfacePattern::new_checked("vnet*").unwrap()],
        ..Interfaces::default()
    };
    Cycle::new(Memory::default(), planner, interfaces, 251, Stations::new(Inventory::HOLD_DOWN))
}

/// shop/front at 203.0.113.10 over these VMs, of which the settled ones are on the network at eth0.
fn facts(addresses: &[[u8; 4]], settled: &[[u8; 4]]) -> Facts {
    let mut front = checked_lb();
    front.status.allocated_address =
        Some(AllocatedAddress { ip: "203.0.113.10".to_owned(), ..AllocatedAddress::default() });
    let key = front.metadata.key();
    let web = |address: &[u8; 4]| {
        let address = IpAddr::from(*address).to_string();
        vm("shop", &address.replace('.', "-"), &[("app", "web")], &address)
    };
    let health = |address: &[u8; 4]| {
        let backend = Backend::new(key.clone(), IpAddr::from(*address));
        (backend, Health { ready: true, reason: Reason::Succeeded })
    };
    let mut topology = sample::vm_host();
    for address in settled {
        sample::reach(&mut topology, IpAddr::from(*address), ETH0, None, station(address[3]));
        topology.settled.insert(IpAddr::from(*address), ());
    }
    Facts {
        health: addresses.iter().map(health).collect(),
        virtual_machines: Some(vms(&addresses.iter().map(web).collect::<Vec<_>>()).into()),
        topology: topology.into(),
        leases: Leases::new(),
        resources: Arc::new(Resources {
            load_balancers: [(key.clone(), front.into())].into(),
            ..Resources::default()
        }),
    }
}

/// The addresses of the backends that take new flows, after a turn that asks this.
fn turn(cycle: &mut Cycle<Memory>, facts: &Facts) -> (Vec<IpAddr>, Questions) {
    turn_at(cycle, facts, Instant::now())
}

fn turn_at(cycle: &mut Cycle<Memory>, facts: &Facts, now: Instant) -> (Vec<IpAddr>, Questions) {
    let mut asked = Questions::default();
    cycle.turn(facts, now, Timestamp::UNIX_EPOCH, |questions| asked = questions);
    let observed = cycle.converger.datapath().observe().unwrap();
    let ids: BTreeSet<_> = observed.tables.values().flat_map(Table::iter).collect();
    let chosen = observed.backends.iter().filter(|(id, _)| ids.contains(id));
    (chosen.map(|(_, backend)| backend.address.ip()).collect(), asked)
}

/// What is announced after a turn.
fn announced(cycle: &mut Cycle<Memory>, facts: &Facts) -> Announced {
    let before = cycle.announced.clone();
    let new = cycle.turn(facts, Instant::now(), Timestamp::UNIX_EPOCH, drop).announced;
    assert_ne!(new, Some(before.clone()), "nothing is told twice");
    let now = new.unwrap_or(before);
    assert_eq!(now, cycle.announced);
    now
}

/// How many statuses are to be stored.
fn statuses(cycle: &mut Cycle<Memory>, facts: &Facts) -> usize {
    cycle.statuses(facts, Timestamp::UNIX_EPOCH).load_balancers.len()
}

/// Chosen before anything was known of it, a backend got its first clients with the VIP for their address.
#[test]
fn a_backend_is_chosen_once_it_is_known_where_it_is() {
    let mut cycle = cycle();
    let [first, second] = [FIRST, SECOND].map(IpAddr::from);
    assert_eq!(turn(&mut cycle, &facts(&[FIRST], &[FIRST])).0, [first]);
    let partly = facts(&[FIRST, SECOND], &[FIRST]);
    let (chosen, asked) = turn(&mut cycle, &partly);
    assert_eq!(chosen, [first]);
    assert_eq!(*asked.addresses, [(first, ()), (second, ())].into_iter().collect());
    assert_eq!(statuses(&mut cycle, &partly), 0, "it would tell of a backend that takes nothing");
    let whole = facts(&[FIRST, SECOND], &[FIRST, SECOND]);
    assert_eq!(turn(&mut cycle, &whole).0, [first, second]);
    assert_eq!(statuses(&mut cycle, &whole), 1);
}

/// Without the wait, the table was filled twice.
#[test]
fn a_new_address_is_waited_for_but_not_for_long() {
    let [first, second] = [FIRST, SECOND].map(IpAddr::from);
    let (unanswered, answered) = (facts(&[SECOND], &[FIRST]), facts(&[SECOND], &[FIRST, SECOND]));
    let begin = || {
        let (mut cycle, now) = (cycle(), Instant::now());
        assert_eq!(turn_at(&mut cycle, &facts(&[FIRST], &[FIRST]), now).0, [first]);
        assert!(!cycle.awaits_answers());
        assert_eq!(turn_at(&mut cycle, &unanswered, now).0, [first], "it serves for another moment");
        let until = cycle.poll_timeout().unwrap();
        assert!(cycle.awaits_answers() && until > now);
        (cycle, now, until)
    };
    let (mut cycle, now, _) = begin();
    assert_eq!(turn_at(&mut cycle, &answered, now).0, [second]);
    assert!(!cycle.awaits_answers());

    let (mut cycle, _, until) = begin();
    assert_eq!(turn_at(&mut cycle, &unanswered, until).0, Vec::<IpAddr>::new(), "its time is over");
    assert!(!cycle.awaits_answers());
    assert_eq!(turn_at(&mut cycle, &answered, until).0, [second]);

    let (mut cycle, now, until) = begin();
    assert_eq!(turn_at(&mut cycle, &facts(&[FIRST], &[FIRST]), now).0, [first], "nobody asks any more");
    assert!(!cycle.awaits_answers() && cycle.poll_timeout().is_none_or(|timeout| timeout > until));
}

#[test]
fn what_an_earlier_agent_left_serves_on_until_all_of_it_can_be_placed() {
    let mut earlier = cycle();
    turn(&mut earlier, &facts(&[FIRST, SECOND], &[FIRST, SECOND]));
    let mut cycle = cycle();
    cycle.converger = earlier.converger;
    let both = [FIRST, SECOND].map(IpAddr::from);
    assert_eq!(turn(&mut cycle, &facts(&[FIRST, SECOND], &[SECOND])).0, both);
    assert_eq!(turn(&mut cycle, &facts(&[FIRST, SECOND], &[FIRST, SECOND])).0, both);
}

fn with_mac(facts: &Facts, mac: Mac) -> Facts {
    let mut facts = facts.clone();
    Arc::make_mut(&mut facts.topology).links.get_mut(&BRIDGE).unwrap().mac = Some(mac);
    facts
}

#[test]
fn a_vip_is_announced_once_it_is_served_and_where_it_is_now_whatever_else_waits() {
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);
    let vip = IpAddr::from([203, 0, 113, 10]);
    let mut cycle = cycle();
    let facts = facts(&[FIRST], &[FIRST]);
    let mut unknown = facts.clone();
    unknown.health = Snapshot::new();
    assert_eq!(announced(&mut cycle, &unknown).vips, BTreeMap::new(), "nobody serves it yet");
    let before = announced(&mut cycle, &facts);
    let mac = facts.topology.links[&BRIDGE].mac.unwrap();
    let face = |mac| BTreeMap::from([(ETH0, Face { mac, adds_tag: false })]);
    assert_eq!(before, Announced { vips: [(vip, 0)].into(), ports: face(mac) });
    let moved = announced(&mut cycle, &with_mac(&unknown, OTHER));
    assert_eq!(moved, Announced { ports: face(OTHER), ..before });
    let gone = Facts { resources: Arc::default(), ..with_mac(&facts, OTHER) };
    assert_eq!(announced(&mut cycle, &gone), Announced { vips: [].into(), ..moved });
}

/// Also where its pool gets into the network only when it is served already.
#[test]
fn a_vip_of_a_tagged_network_is_announced_in_its_vlan() {
    let vlan7 = Network { interface: "eth0".to_owned(), vlan: 7 };
    let networks = [("lab/vlan7".to_owned(), vlan7)].into();
    let mut cycle = cycle().with_dhcp(Dhcp { networks, ..Dhcp::default() });
    let vip = IpAddr::from([203, 0, 113, 10]);
    let mut facts = facts(&[FIRST], &[FIRST]);
    assert_eq!(announced(&mut cycle, &facts).vips, [(vip, 0)].into());
    let mut pool = IpPool::new("lab");
    pool.spec.selector.network = "lab/vlan7".to_owned();
    pool.status.allocated = [(vip.to_string(), "shop/front".to_owned())].into();
    let mut resources = Resources::clone(&facts.resources);
    resources.pools.insert("lab".to_owned(), pool);
    facts.resources = Arc::new(resources);
    assert_eq!(announced(&mut cycle, &facts).vips, [(vip, 7)].into());
}

/// shop/front, and shop/more on port 81, which shares its address.
fn sharing(front: &LoadBalancer) -> Facts {
    let mut facts = facts(&[FIRST], &[FIRST]);
    let mut more = raw_lb();
    more.metadata.name = "more".to_owned();
    more.spec.listeners[0].port = 81;
    more.spec.unserved = String::new();
    more.spec.share_address_with = "front".to_owned();
    more.status.allocated_address.clone_from(&front.status.allocated_address);
    let both = [front.clone(), more].map(|object| (object.metadata.key(), object.into()));
    facts.resources = Arc::new(Resources { load_balancers: both.into(), ..Resources::default() });
    facts
}

fn front() -> LoadBalancer {
    let facts = facts(&[], &[]);
    LoadBalancer::clone(facts.resources.load_balancers.values().next().unwrap())
}

#[test]
fn d26_load_balancers_of_one_address_are_served_beside_each_other() {
    let mut cycle = cycle();
    let mut closed = front();
    closed.spec.unserved = "Drop".to_owned();
    turn(&mut cycle, &sharing(&closed));
    let observed = cycle.converger.datapath().observe().unwrap();
    let vip = IpAddr::from([203, 0, 113, 10]);
    let listening = |observed: &Observed| -> Vec<(u16, bool, bool)> {
        let entries = observed.listeners.iter().filter(|(address, _)| address.vip == vip);
        entries.map(|(address, entry)| (address.port, entry.drop_unserved, entry.terms.filtered)).collect()
    };
    assert_eq!(listening(&observed), [(80, true, false), (81, false, false)]);
    assert!(observed.vips[&vip].drop_unserved, "the address is as its owner says");

    // What its owner says of clients holds for all listeners of the address.
    closed.spec.load_balancer_source_ranges = vec!["198.51.100.0/24".to_owned()];
    turn(&mut cycle, &sharing(&closed));
    let observed = cycle.converger.datapath().observe().unwrap();
    assert_eq!(listening(&observed), [(80, true, true), (81, false, true)]);

    let mut alone = facts(&[FIRST], &[FIRST]);
    let only = [(closed.metadata.key(), Arc::new(closed))];
    alone.resources = Arc::new(Resources { load_balancers: only.into(), ..Resources::default() });
    turn(&mut cycle, &alone);
    let observed = cycle.converger.datapath().observe().unwrap();
    assert_eq!(listening(&observed), [(80, true, true)]);
    assert!(observed.vips[&vip].drop_unserved, "who shared it did not take it along");
}
