//! Leases that end while nothing else is known.

use super::*;
use crate::control::resources::Resources;
use crate::ipam::dhcp::machine::Phase;
use crate::ipam::dhcp::model::tests::lease;
use crate::ipam::dhcp::model::{Lease, State};
use crate::model::meta::NamespacedName;

const LENT: [u8; 4] = [192, 0, 2, 9];
const POOLED: [u8; 4] = [203, 0, 113, 10];

fn leased() -> NamespacedName {
    NamespacedName::new("shop", "leased")
}

fn state(lease: Option<Lease>) -> State {
    State { phase: Phase::Bound, is_held: lease.is_some(), lease, problem: None }
}

/// shop/front at an address of a pool, and shop/leased at one that was lent for a minute from 1970 on.
fn world() -> Facts {
    let mut facts = facts(&[FIRST], &[FIRST]);
    let mut object = raw_lb();
    object.metadata.name = "leased".to_owned();
    object.spec.ipam = "dhcp".to_owned();
    object.status.address = IpAddr::from(LENT).to_string();
    let resources = Arc::make_mut(&mut facts.resources);
    resources.load_balancers.insert(leased(), object.into());
    resources.leases.insert(leased(), lease());
    let health = Health { ready: true, reason: Reason::Succeeded };
    facts.health.insert(Backend::new(leased(), FIRST.into()), health);
    facts.leases.insert(leased(), state(Some(lease())));
    facts
}

/// An agent that has just started over the maps of an earlier one, which served all of it.
fn restarted() -> Cycle<Memory> {
    let mut earlier = cycle();
    turn(&mut earlier, &world());
    let mut cycle = cycle();
    *cycle.converger.datapath() = earlier.converger.datapath().clone();
    assert_eq!(served(&mut cycle), [LENT, POOLED].map(IpAddr::from));
    cycle
}

fn served(cycle: &mut Cycle<Memory>) -> Vec<IpAddr> {
    cycle.converger.datapath().observe().unwrap().vips.into_keys().collect()
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The VIP of a lease that had ended was served until the inventory could be read, however long that took.
#[test]
fn a_lease_ends_though_no_vm_is_known() {
    let mut cycle = restarted();
    let mut facts = Facts { virtual_machines: None, ..world() };
    let both = [LENT, POOLED].map(IpAddr::from);
    facts.leases.clear();
    cycle.turn(&facts, Instant::now(), second(59), drop);
    assert_eq!(served(&mut cycle), both, "what is stored of it lasts");
    cycle.turn(&facts, Instant::now(), second(60), drop);
    assert_eq!(served(&mut cycle), both[1..]);
    let observed = cycle.converger.datapath().observe().unwrap();
    assert!(observed.listeners.keys().all(|listener| listener.vip == both[1]));
    assert_eq!(observed.tables.len(), 1, "that of the other is as it was");
}

#[test]
fn a_refused_lease_ends_though_no_vm_is_known_and_its_status_says_so() {
    let mut cycle = restarted();
    let refused = [(leased(), state(None))].into();
    let facts = Facts { virtual_machines: None, leases: refused, ..world() };
    cycle.turn(&facts, Instant::now(), second(1), drop);
    assert_eq!(served(&mut cycle), [IpAddr::from(POOLED)]);
    let statuses = cycle.statuses(&facts, second(1));
    assert_eq!(statuses.leases, [(leased(), None)]);
    let [(key, status)] = &statuses.load_balancers[..] else { panic!("{statuses:?}") };
    let ready = &status.conditions[0];
    assert_eq!((key, status.address.as_str(), ready.status.as_str()), (&leased(), "", "False"));
    assert_eq!(ready.message, "service is waiting for external IP");
}

#[test]
fn the_vip_of_a_leased_load_balancer_that_is_deleted_goes_though_no_vm_is_known() {
    let mut cycle = restarted();
    let mut resources = Resources::clone(&world().resources);
    resources.load_balancers.remove(&leased());
    let facts = Facts { virtual_machines: None, resources: resources.into(), ..world() };
    cycle.turn(&facts, Instant::now(), second(1), drop);
    assert_eq!(served(&mut cycle), [IpAddr::from(POOLED)], "its address is given back");
}

/// An extension was not stored: an agent that started later took the lease for ended.
#[test]
fn an_extended_lease_is_stored_though_no_vm_is_known() {
    let mut cycle = restarted();
    let extended = Lease { expires_at: Some(120_000), ..lease() };
    let facts = [(leased(), state(Some(extended.clone())))].into();
    let facts = Facts { virtual_machines: None, leases: facts, ..world() };
    cycle.turn(&facts, Instant::now(), second(61), drop);
    let statuses = cycle.statuses(&facts, second(61));
    assert_eq!(statuses.leases, [(leased(), Some(extended))]);
    assert_eq!(statuses.load_balancers, []);
    assert_eq!(served(&mut cycle), [LENT, POOLED].map(IpAddr::from));
}
