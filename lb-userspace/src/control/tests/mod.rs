//! Whatever happens, in whatever order: no address has two owners, none is leaked, and the datapath is what the
//! store says.

mod stand;
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::control::admission::{Intent, Preconditions, Reference};
use crate::model::health_check::HealthCheck;
use crate::model::ip_pool::{IpPool, PoolRange};
use crate::model::load_balancer::{Listener, LoadBalancer};
use crate::model::meta::{GROUP, NamespacedName};
use crate::model::parse::Manifest;
use stand::Fate;
use world::World;

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    /// A load balancer is created or changed: its number, whether it takes a lease, its pool, its address.
    Put(u8, bool, u8, Option<u8>),
    /// A load balancer shares the address of another, or is created so.
    Share(u8, u8),
    /// As before, while the disk fails or the agent is killed.
    PutAnd(u8, bool, u8, Fate),
    /// As before, just before the control loop stores what it has found.
    Meanwhile(u8, u8),
    /// A load balancer is deleted.
    Delete(u8),
    /// A pool is created, or gets another length.
    Pool(u8, u8),
    /// A pool is deleted.
    DeletePool(u8),
    /// An operator asks for an address to be freed.
    Free(u8, u8),
    /// A VM appears, or goes.
    Vm(u8, bool),
    /// The inventory can be read, or not.
    Inventory(bool),
    /// Frames are lost or repeated as the pattern says, for so many seconds.
    Time(u8, u64),
    /// The DHCP server answers, or not.
    Server(bool),
    /// The DHCP server will not lend this address any more.
    Withdraw(u8),
    /// The interface is there, or not.
    Wire(bool),
    /// The agent is killed, and starts again so many seconds later.
    Restart(u8),
    /// The same, after so many more commands to the datapath.
    Kill(u8, u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let fate = prop_oneof![Just(Fate::Refused), Just(Fate::StoredUnheard)];
    let address = proptest::option::weighted(0.5, 98_u8..104);
    let event = prop_oneof![
        8 => (0_u8..5, any::<bool>(), 0_u8..2, address).prop_map(|(n, leases, pool, address)| Event::Put(n, leases, pool, address)),
        4 => (0_u8..5, 0_u8..5).prop_map(|(n, owner)| Event::Share(n, owner)),
        2 => (0_u8..5, any::<bool>(), 0_u8..2, fate).prop_map(|(n, leases, pool, fate)| Event::PutAnd(n, leases, pool, fate)),
        2 => (0_u8..5, 100_u8..103).prop_map(|(n, host)| Event::Meanwhile(n, host)),
        4 => (0_u8..5).prop_map(Event::Delete),
        3 => (0_u8..2, 0_u8..6).prop_map(|(pool, last)| Event::Pool(pool, last)),
        1 => (0_u8..2).prop_map(Event::DeletePool),
        1 => (0_u8..5, 98_u8..104).prop_map(|(n, host)| Event::Free(n, host)),
        2 => (11_u8..14, any::<bool>()).prop_map(|(host, is_there)| Event::Vm(host, is_there)),
        1 => any::<bool>().prop_map(Event::Inventory),
        4 => (1_u8..100, any::<u64>()).prop_map(|(seconds, pattern)| Event::Time(seconds, pattern)),
        1 => any::<bool>().prop_map(Event::Server),
        1 => (100_u8..104).prop_map(Event::Withdraw),
        1 => any::<bool>().prop_map(Event::Wire),
        2 => (0_u8..90).prop_map(Event::Restart),
        2 => (0_u8..12, 0_u8..90).prop_map(|(commands, seconds)| Event::Kill(commands, seconds)),
    ];
    prop::collection::vec(event, 1..24)
}

fn key(number: u8) -> NamespacedName {
    NamespacedName::new("shop", format!("lb{number}"))
}

fn balancer(number: u8, leases: bool, pool: u8, address: Option<u8>) -> Intent {
    let NamespacedName { namespace, name } = key(number);
    let mut object = LoadBalancer::new(namespace, name);
    object.spec.listeners =
        vec![Listener { port: 80, protocol: "TCP".into(), backend_port: 8080, ..Listener::default() }];
    object.spec.health_check = Some(HealthCheck { port: 8080, ..HealthCheck::default() });
    object.spec.backend_server_selector = [("app".to_owned(), vec!["web".to_owned()])].into();
    if leases {
        object.spec.ipam = "dhcp".into();
    } else {
        object.spec.ip_pool = format!("pool{pool}");
        // The other pool has none of these.
        let address = address.filter(|_| pool == 0);
        object.spec.address = address.map(|host| format!("192.0.2.{host}")).unwrap_or_default();
    }
    Intent::Apply(Manifest::LoadBalancer(object.into()))
}

/// On a port of its own; what else could it serve.
fn sharer(number: u8, owner: u8) -> Intent {
    let NamespacedName { namespace, name } = key(number);
    let mut object = LoadBalancer::new(namespace, name);
    let port = 8000 + i64::from(number);
    object.spec.listeners =
        vec![Listener { port, protocol: "TCP".into(), backend_port: 8080, ..Listener::default() }];
    object.spec.backend_server_selector = [("app".to_owned(), vec!["web".to_owned()])].into();
    object.spec.share_address_with = key(owner).name.to_string();
    Intent::Apply(Manifest::LoadBalancer(object.into()))
}

/// 192.0.2.98 and more, of which the DHCP server lends those from 100 on; or 198.51.100.10 and more.
fn pool(number: u8, length: u8) -> IpPool {
    let (network, first) = if number == 0 { ("192.0.2", 98) } else { ("198.51.100", 10) };
    let mut pool = IpPool::new(format!("pool{number}"));
    pool.spec.ranges = vec![PoolRange {
        subnet: format!("{network}.0/24"),
        range_start: format!("{network}.{first}"),
        range_end: format!("{network}.{}", first + length),
        gateway: String::new(),
    }];
    pool
}

fn happen(world: &mut World, event: &Event) -> Result<(), TestCaseError> {
    let (mut seconds, mut pattern) = (0, u64::MAX);
    match *event {
        Event::Put(number, leases, pool, address) => world.submit(&[balancer(number, leases, pool, address)]),
        Event::Share(number, owner) => world.submit(&[sharer(number, owner)]),
        Event::PutAnd(number, leases, pool, fate) => {
            world.shelf.decide(fate);
            world.submit(&[balancer(number, leases, pool, None)]);
            if fate == Fate::StoredUnheard {
                world.restart(1);
            }
            world.shelf.decide(Fate::Stored);
        }
        Event::Meanwhile(number, host) => world.meanwhile = Some(balancer(number, false, 0, Some(host))),
        Event::Delete(number) => {
            let reference = Reference::LoadBalancer(key(number));
            world.submit(&[Intent::Delete(reference, Preconditions::default())]);
        }
        Event::Pool(number, length) => {
            world.submit(&[Intent::Apply(Manifest::IpPool(pool(number, length).into()))]);
        }
        Event::DeletePool(number) => {
            let reference = Reference::IpPool(format!("pool{number}"));
            world.submit(&[Intent::Delete(reference, Preconditions::default())]);
        }
        Event::Free(number, host) => {
            let stored = world.resources().pools.get("pool0").cloned();
            if let Some(mut pool) = stored {
                let request = format!("192.0.2.{host}: {}", key(number));
                pool.metadata.annotations.insert(format!("{GROUP}/manuallyReleaseIP"), request);
                world.submit(&[Intent::Replace(Manifest::IpPool(pool.into()))]);
            }
        }
        Event::Vm(host, true) => drop(world.vms.insert(host)),
        Event::Vm(host, false) => drop(world.vms.remove(&host)),
        Event::Inventory(is_readable) => world.is_readable = is_readable,
        Event::Time(time, losses) => (seconds, pattern) = (time.into(), losses),
        Event::Server(is_there) => world.server.is_gone = !is_there,
        Event::Withdraw(host) => drop(world.server.declined.insert([192, 0, 2, host].into())),
        Event::Wire(is_there) => world.is_wired = is_there,
        Event::Restart(pause) => world.restart(pause),
        Event::Kill(commands, pause) => {
            world.maps.limit(Some(commands));
            world.vms = if world.vms.len() > 1 { BTreeSet::from([13]) } else { BTreeSet::from([11, 12]) };
            // It is not brought to an end.
            drop(world.settle(&mut pattern));
            world.restart(pause);
        }
    }
    world.run(seconds, pattern)
}

fn cases() -> u32 {
    if std::env::var_os("LB_LONG").is_some() { 20_000 } else { 256 }
}

fn all_ends_well(events: &[Event]) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for number in 0..2 {
        world.submit(&[Intent::Apply(Manifest::IpPool(pool(number, 5).into()))]);
    }
    for event in events {
        happen(&mut world, event)?;
    }
    // In the end all is well again.
    (world.server.is_gone, world.is_wired, world.is_readable) = (false, true, true);
    world.server.declined.clear();
    world.run(120, u64::MAX)?;
    world.check_end()
}

/// The one that waits was looked at before the other had given its address back.
#[test]
fn who_moves_to_another_pool_leaves_its_address_to_one_that_waits_longer() {
    let to_pool = |number, pool| Event::Put(number, false, pool, None);
    let events = [Event::Pool(1, 1), to_pool(1, 1), to_pool(3, 1), to_pool(0, 1), to_pool(1, 0)];
    all_ends_well(&events).unwrap();
}

#[test]
fn d26_a_shared_address_moves_with_who_has_it_and_ends_with_the_sharing() {
    let to_pool = |number, pool| Event::Put(number, false, pool, None);
    let events = [
        to_pool(0, 0),
        Event::Share(1, 0),
        Event::Share(2, 0),
        Event::Delete(0),
        to_pool(0, 1),
        Event::Restart(1),
        to_pool(1, 0),
        Event::Delete(2),
        Event::Delete(0),
    ];
    all_ends_well(&events).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_address_has_one_owner_and_the_datapath_is_what_the_store_says(events in events()) {
        all_ends_well(&events)?;
    }
}
