//! Leases and pools: whoever is stored first has the address.

mod crash;
pub(in crate::control) mod owners;

use super::*;
use crate::ipam::dhcp::left;
use crate::ipam::dhcp::model::tests::lease;
use crate::model::ip_pool::{IpPool, PoolRange, ScopeTuple};
use crate::model::load_balancer::Listener;
use crate::store::MemoryStore;

/// With a pool of 192.0.2.9 alone, and load balancers `name ipam`.
fn registry(load_balancers: &[&str]) -> Registry {
    let registry = Registry::open(Box::new(MemoryStore::default())).unwrap();
    let mut pool = IpPool::new("lab");
    pool.spec.ranges = vec![PoolRange { subnet: "192.0.2.9/32".into(), ..PoolRange::default() }];
    pool.spec.selector.scope = vec![ScopeTuple::new("*", "*", "*")];
    submit(&registry, Intent::Create(Manifest::IpPool(pool.into())));
    for text in load_balancers {
        create(&registry, text);
    }
    registry
}

fn create(registry: &Registry, text: &str) {
    let (name, ipam) = text.split_once(' ').unwrap();
    let mut object = LoadBalancer::new("shop", name);
    object.spec.ipam = ipam.into();
    object.spec.listeners = vec![Listener {
        name: "web".into(),
        port: 80,
        protocol: "TCP".into(),
        backend_port: 8080,
        ..Listener::default()
    }];
    submit(registry, Intent::Create(Manifest::LoadBalancer(object.into())));
}

fn submit(registry: &Registry, intent: Intent) {
    let intents = [intent];
    registry.submit(&Submission { intents: &intents, manager: "test", dry_run: false }).unwrap();
}

fn key(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

/// What the control loop stores when shop/`name` has leased 192.0.2.9, or has given it back.
fn write_lease(registry: &Registry, name: &str, is_held: bool) {
    let mut status = registry.snapshot().load_balancers.get(&key(name)).map(|object| object.status.clone());
    if let Some(status) = &mut status {
        status.address = if is_held { "192.0.2.9".to_owned() } else { String::new() };
    }
    let load_balancers = status.map(|status| (key(name), status)).into_iter().collect();
    let leases = vec![(key(name), is_held.then(lease))];
    registry.write_status(Statuses { load_balancers, leases }).unwrap();
}

fn address(registry: &Registry, name: &str) -> String {
    registry.snapshot().load_balancers[&key(name)].status.address.clone()
}

/// Two load balancers answered for one address.
#[test]
fn a_pool_gives_no_address_that_a_lease_holds_until_it_is_given_back() {
    let registry = registry(&["leased dhcp"]);
    write_lease(&registry, "leased", true);
    create(&registry, "pooled pool");
    assert_eq!([address(&registry, "leased"), address(&registry, "pooled")], ["192.0.2.9", ""]);
    let reference = admission::Reference::LoadBalancer(key("leased"));
    submit(&registry, Intent::Delete(reference, admission::Preconditions::default()));
    assert_eq!(address(&registry, "pooled"), "", "its server does not know yet");
    write_lease(&registry, "leased", false);
    assert_eq!(address(&registry, "pooled"), "192.0.2.9", "who waits is served in the same transaction");
    assert_eq!(registry.snapshot().pools["lab"].status.available, 0);
}

#[test]
fn a_pool_gives_no_address_that_was_left_in_another_network_until_it_is_given_back() {
    let registry = registry(&["leased dhcp"]);
    write_lease(&registry, "leased", true);
    let left = left::key(&key("leased"), lease().network());
    let write = |leases| registry.write_status(Statuses { leases, ..Statuses::default() }).unwrap();
    write(vec![(key("leased"), None), (left.clone(), Some(lease()))]);
    create(&registry, "pooled pool");
    assert_eq!(address(&registry, "pooled"), "");
    write(vec![(left, None)]);
    assert_eq!(address(&registry, "pooled"), "192.0.2.9");
}

#[test]
fn a_lease_of_an_address_that_a_pool_gave_meanwhile_is_not_stored() {
    let registry = registry(&["leased dhcp", "pooled pool"]);
    let before = registry.snapshot();
    write_lease(&registry, "leased", true);
    assert_eq!(*registry.snapshot(), *before);
    assert_eq!([address(&registry, "leased"), address(&registry, "pooled")], ["", "192.0.2.9"]);
}

/// A server lends at once what another client has given back.
#[test]
fn an_address_passes_from_lease_to_lease_in_one_transaction() {
    let registry = registry(&["one dhcp", "two dhcp"]);
    write_lease(&registry, "one", true);
    let leases = vec![(key("two"), Some(lease())), (key("one"), None)];
    registry.write_status(Statuses { leases, ..Statuses::default() }).unwrap();
    assert_eq!(registry.snapshot().leases.keys().collect::<Vec<_>>(), [&key("two")]);
}

/// Every renewal of a lease gave out addresses anew, while all writers waited.
#[test]
fn a_lease_that_is_renewed_settles_no_addresses() {
    let earlier = registry(&["leased dhcp", "pooled dhcp"]);
    write_lease(&earlier, "leased", true);
    // One that waits although its pool has an address: it is served once somebody looks.
    let mut resources = (*earlier.snapshot()).clone();
    let mut free = resources.pools["lab"].clone();
    free.metadata.name = "free".into();
    free.spec.ranges[0].subnet = "192.0.2.10/32".into();
    resources.pools.insert("free".into(), free);
    let waiting = Arc::make_mut(resources.load_balancers.get_mut(&key("pooled")).unwrap());
    waiting.spec.ipam = "pool".into();
    waiting.status = LoadBalancerStatus::default();
    let mut store = MemoryStore::default();
    store.commit(&resources.writes_since(&Resources::default()).unwrap()).unwrap();
    let registry = Registry::open(Box::new(store)).unwrap();
    let renewed = Lease { renew_at: Some(4_000_000_000), ..lease() };
    let leases = vec![(key("leased"), Some(renewed.clone()))];
    registry.write_status(Statuses { leases, ..Statuses::default() }).unwrap();
    assert_eq!(registry.snapshot().leases[&key("leased")], renewed);
    assert_eq!(address(&registry, "pooled"), "");
    write_lease(&registry, "leased", false);
    assert_ne!(address(&registry, "pooled"), "");
}

#[test]
fn stored_pools_are_labelled_with_the_vlans_of_a_new_configuration() {
    let store = MemoryStore::default();
    let registry = Registry::open(Box::new(store)).unwrap();
    let mut pool = IpPool::new("lab");
    pool.spec.ranges = vec![PoolRange { subnet: "192.0.2.9/32".into(), ..PoolRange::default() }];
    pool.spec.selector.network = "lab/vlan7".into();
    submit(&registry, Intent::Create(Manifest::IpPool(pool.into())));
    let vid = |registry: &Registry| {
        registry.snapshot().pools["lab"].metadata.labels["loadbalancer.harvesterhci.io/vid"].clone()
    };
    assert_eq!(vid(&registry), "0");
    let revision = registry.snapshot().revision;
    let registry = registry.with_vlans([("lab/vlan7".to_owned(), 7)].into()).unwrap();
    assert_eq!((vid(&registry).as_str(), registry.snapshot().revision), ("7", revision + 1));
    let registry = registry.with_vlans([("lab/vlan7".to_owned(), 7)].into()).unwrap();
    assert_eq!(registry.snapshot().revision, revision + 1, "what is right is not written again");
}
