//! Addresses over the life of a load balancer.

use super::*;
use crate::model::ip_pool::{PoolRange, ScopeTuple};
use crate::model::load_balancer::{Listener, LoadBalancer};

/// A pool of the addresses 10 to `last` of a subnet.
fn pool(name: &str, network: &str, last: u8, scope: &[[&str; 3]]) -> IpPool {
    let mut pool = IpPool::new(name);
    pool.spec.ranges = vec![PoolRange {
        subnet: format!("{network}.0/24"),
        range_start: format!("{network}.10"),
        range_end: format!("{network}.{last}"),
        gateway: String::new(),
    }];
    pool.spec.selector.scope = scope.iter().map(|[p, n, c]| ScopeTuple::new(p, n, c)).collect();
    pool
}

fn pools() -> Vec<IpPool> {
    vec![pool("lab", "192.0.2", 11, &[["*", "*", "*"]]), pool("small", "198.51.100", 10, &[])]
}

fn lb(name: &str, pool: &str, address: &str) -> CheckedLoadBalancer {
    let mut lb = LoadBalancer::new("shop", name);
    let (port, backend_port) = (80, 80);
    lb.spec.listeners = vec![Listener {
        name: String::new(),
        port,
        protocol: "TCP".into(),
        backend_port,
        ..Listener::default()
    }];
    lb.spec.ip_pool = pool.into();
    lb.spec.address = address.into();
    lb.check().unwrap()
}

fn store(pools: &mut [IpPool], changed: Vec<IpPool>) {
    for new in changed {
        let place = pools.iter().position(|pool| pool.metadata.name == new.metadata.name).unwrap();
        pools[place] = new;
    }
}

#[track_caller]
fn assigned(pools: &mut [IpPool], lb: &CheckedLoadBalancer) -> String {
    let assignment = assign(pools, lb, &Lent::new()).unwrap();
    store(pools, assignment.pools);
    assert_eq!(assign(pools, lb, &Lent::new()).unwrap().pools, [], "asking twice changes nothing");
    assignment.vip.to_string()
}

#[test]
fn an_address_comes_with_its_pool_mask_and_gateway() {
    let expected = AllocatedAddress {
        ip_pool: "lab".into(),
        ip: "192.0.2.10".into(),
        mask: "255.255.255.0".into(),
        gateway: "192.0.2.1".into(),
    };
    assert_eq!(assign(&pools(), &lb("front", "", ""), &Lent::new()).unwrap().address, expected);
}

#[test]
fn c19_recreated_load_balancer_takes_its_address_again() {
    let mut pools = pools();
    assert_eq!(assigned(&mut pools, &lb("a", "", "")), "192.0.2.10");
    assert_eq!(assigned(&mut pools, &lb("b", "", "")), "192.0.2.11");
    let changed = release(&pools, &lb("a", "", "").key);
    store(&mut pools, changed);
    assert_eq!(assigned(&mut pools, &lb("a", "", "")), "192.0.2.10");
}

#[test]
fn a_change_to_a_full_pool_leaves_the_address_alone() {
    let mut pools = pools();
    assert_eq!(assigned(&mut pools, &lb("a", "", "")), "192.0.2.10");
    assert_eq!(assigned(&mut pools, &lb("b", "small", "")), "198.51.100.10");
    let error = assign(&pools, &lb("a", "small", ""), &Lent::new()).unwrap_err();
    assert!(matches!(error, AssignAddress::Allocate(AllocateAddress::Exhausted { .. })));
    assert_eq!(pools[0].status.allocated["192.0.2.10"], "shop/a");
}

#[test]
fn a_change_of_the_pool_moves_the_address_and_automatic_keeps_it() {
    let mut pools = pools();
    assert_eq!(assigned(&mut pools, &lb("a", "", "")), "192.0.2.10");
    assert_eq!(assigned(&mut pools, &lb("a", "small", "")), "198.51.100.10");
    assert!(pools[0].status.allocated.is_empty());
    assert_eq!(pools[0].status.allocated_history["192.0.2.10"], "shop/a");
    assert_eq!(assigned(&mut pools, &lb("a", "", "")), "198.51.100.10");
    assert_eq!(assigned(&mut pools, &lb("a", "", "192.0.2.11")), "192.0.2.11");
    assert!(pools[1].status.allocated.is_empty());
}

#[test]
fn a_broken_pool_is_passed_over_and_an_unknown_one_is_an_error() {
    let mut pools = pools();
    pools.insert(0, pool("broken", "nonsense", 20, &[["*", "shop", "*"]]));
    assert_eq!(assigned(&mut pools, &lb("a", "", "")), "192.0.2.10");
    for name in ["broken", "missing"] {
        let error = assign(&pools, &lb("a", name, ""), &Lent::new()).unwrap_err();
        assert_eq!(error, AssignAddress::Select(SelectPool::Unknown(name.into())));
    }
}
