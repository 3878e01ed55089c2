//! Addresses that a server lends though a pool gave them.

use super::*;

const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Lets a minute go by, in which shop/lb0 wants an address.
fn a_minute_passes(world: &mut World) {
    world.wanted.insert(0);
    world.run(60, u64::MAX).unwrap();
}

fn another_one_is_lent(world: &World) {
    assert_eq!(world.server.declined, BTreeSet::from([FIRST]));
    assert_eq!(world.held(), BTreeMap::from([(key(0), Ipv4Addr::new(192, 0, 2, 101))]));
}

#[test]
fn what_a_pool_gave_is_declined() {
    let mut world = World::new();
    world.served.insert(FIRST);
    a_minute_passes(&mut world);
    another_one_is_lent(&world);
}

/// Nothing was declined where nothing is probed: both answered for the address.
#[test]
fn what_a_pool_gave_is_declined_where_nothing_is_probed_too() {
    let mut world = World::new();
    let patience = Patience { probe: Duration::ZERO, ..SETTINGS.patience };
    world.clients = Clients::new(Settings { patience, ..SETTINGS }, 1);
    world.served.insert(FIRST);
    a_minute_passes(&mut world);
    another_one_is_lent(&world);
}

#[test]
fn an_address_in_use_that_a_pool_gives_is_left_at_once_and_never_announced() {
    let mut world = World::new();
    a_minute_passes(&mut world);
    assert_eq!(world.held(), BTreeMap::from([(key(0), FIRST)]));
    world.served.insert(FIRST);
    world.control();
    assert_eq!(world.held(), BTreeMap::new());
    let told = world.clients.facts()[&key(0)].problem.clone().unwrap();
    assert!(told.contains("which a pool gave to another load balancer"), "{told}");
    let frames = world.clients.take_frames();
    assert_eq!(
        frames.iter().filter_map(|(_, frame)| asked(frame)).map(|said| said.kind).collect::<Vec<_>>(),
        [4]
    );
    assert_eq!(frames.len(), 1, "a decline and nothing else");
}

/// Both leases stayed in the store: with a clock that is set back, both would have been used after a restart.
#[test]
fn an_address_that_is_lent_to_another_is_forgotten_by_who_had_it() {
    let mut world = World::new();
    a_minute_passes(&mut world);
    let first = world.clients.facts()[&key(0)].lease.clone().unwrap();
    world.server.is_gone = true;
    world.run(61, u64::MAX).unwrap();
    assert_eq!(world.clients.facts()[&key(0)].lease, Some(first.clone()), "it is asked for again");
    world.server.is_gone = false;
    let client_id = identity(&key(1), SETTINGS.hardware, NIC).client_id;
    let end = world.now + Duration::from_secs(LEASE);
    world.server.leases = BTreeMap::from([(client_id, (first.address, end))]);
    world.wanted.insert(1);
    while !world.held().contains_key(&key(1)) {
        world.run(1, u64::MAX).unwrap();
    }
    let facts = world.clients.facts();
    assert_eq!(facts[&key(1)].lease.as_ref().map(|lease| lease.address), Some(first.address));
    assert_ne!(facts[&key(0)].lease.as_ref().map(|lease| lease.address), Some(first.address));
}
