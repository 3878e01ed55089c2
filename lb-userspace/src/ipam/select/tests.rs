//! The cases A2 and B5 of the reference, with the outcome of our decisions.

use super::*;
use crate::model::ip_pool::{IpPool, PoolRange};
use crate::model::load_balancer::{Listener, LoadBalancer};

/// Name, network, priority, scope.
type Line<'a> = (&'a str, &'a str, i64, &'a [[&'a str; 3]]);

/// Each pool gets a subnet of its own, 10.0.N.0/24, by its place in the list.
fn pools(list: &[Line<'_>]) -> Vec<CheckedPool> {
    let make = |(index, (name, network, priority, scope)): (usize, &Line<'_>)| {
        let mut pool = IpPool::new(*name);
        pool.spec.ranges = vec![PoolRange { subnet: format!("10.0.{index}.0/24"), ..PoolRange::default() }];
        pool.spec.selector.network = (*network).into();
        pool.spec.selector.priority = *priority;
        pool.spec.selector.scope = scope.iter().map(|[p, n, c]| ScopeTuple::new(p, n, c)).collect();
        pool.check().unwrap()
    };
    list.iter().enumerate().map(make).collect()
}

/// Network, project, namespace, cluster.
fn lb([network, project, namespace, cluster]: [&str; 4], workload: Workload) -> CheckedLoadBalancer {
    let mut lb = LoadBalancer::new("any", "front");
    let (port, backend_port) = (80, 80);
    lb.spec.listeners = vec![Listener {
        name: String::new(),
        port,
        protocol: "TCP".into(),
        backend_port,
        ..Listener::default()
    }];
    let mut checked = lb.check().unwrap();
    checked.workload = workload;
    checked.requirement = Requirement {
        network: network.into(),
        project: project.into(),
        namespace: namespace.into(),
        cluster: cluster.into(),
    };
    checked
}

#[track_caller]
fn assert_selected(pools: &[CheckedPool], lb: &CheckedLoadBalancer, expected: &str) {
    let found = select(pools, lb).map_or("", |pool| &pool.name);
    assert_eq!(found, expected, "{:?}", lb.requirement);
    let reversed: Vec<CheckedPool> = pools.iter().rev().cloned().collect();
    assert_eq!(select(&reversed, lb).map_or("", |pool| &pool.name), expected, "in another order");
}

const VLAN10: &str = "default/vlan10";

#[test]
fn a2_the_pool_of_network_and_scope_is_selected() {
    let default = ("d", VLAN10, 0, &[["*", "default", "*"]][..]);
    let preferred = ("dp", VLAN10, 100, &[["*", "default", "*"]][..]);
    let global = ("g", "", 0, &[["*", "*", "*"]][..]);
    let narrow = ("ns", VLAN10, 0, &[["", "default", ""]][..]);
    let narrowest = ("ws", VLAN10, 0, &[["project1", "default", "cluster1"]][..]);
    let vm = |of| lb(of, Workload::Vm);
    assert_selected(&pools(&[default, global]), &vm([VLAN10, "", "default", ""]), "d");
    assert_selected(&pools(&[default, global]), &vm([VLAN10, "", "test", ""]), "g");
    assert_selected(&pools(&[default]), &vm([VLAN10, "", "default", ""]), "d");
    assert_selected(&pools(&[default]), &vm([VLAN10, "", "test", ""]), "");
    assert_selected(&pools(&[default, preferred]), &vm([VLAN10, "", "default", ""]), "dp");
    let cluster = |of| lb(of, Workload::Cluster);
    assert_selected(
        &pools(&[narrowest, narrow]),
        &cluster([VLAN10, "project1", "default", "cluster1"]),
        "ws",
    );
    assert_selected(&pools(&[narrow]), &cluster([VLAN10, "project1", "default", "cluster1"]), "ns");
    assert_selected(&pools(&[narrow]), &vm([VLAN10, "project1", "default", "cluster1"]), "");
    assert_selected(&pools(&[narrowest, narrow]), &vm([VLAN10, "", "default", ""]), "ns");
}

#[test]
fn b5_the_network_decides_before_anything_else() {
    let pools = pools(&[
        ("glob", "default/vlan1", 0, &[["*", "*", "*"]]),
        ("ns-default", "", 0, &[["*", "default", "*"]]),
        ("ui-default", "", 5, &[["", "default", ""]]),
        ("v10-gc1", VLAN10, 0, &[["p1", "default", "gc1"]]),
        ("v10-any", VLAN10, 3, &[["", "default", ""]]),
        ("noscope", "", 99, &[]),
        ("teamx", "", 0, &[["p1", "teamx", ""], ["p2", "*", "gcx"]]),
    ]);
    for (of, expected) in [
        (["", "", "default", ""], "ui-default"),
        // A global pool with a network serves that network alone.
        (["", "", "other", ""], ""),
        (["default/vlan1", "", "other", ""], "glob"),
        ([VLAN10, "p1", "default", "gc1"], "v10-gc1"),
        ([VLAN10, "", "default", ""], "v10-any"),
        (["", "p1", "teamx", ""], "teamx"),
        (["", "", "teamx", ""], ""),
        (["", "p2", "anything", ""], ""),
        (["", "p2", "anything", "gcx"], "teamx"),
        (["", "*", "teamx", "*"], "teamx"),
    ] {
        assert_selected(&pools, &lb(of, Workload::Vm), expected);
    }
}

#[test]
fn the_narrower_scope_wins_and_then_the_name() {
    let wide = ("a-wide", "", 0, &[["*", "*", "c"]][..]);
    let narrow = ("z-narrow", "", 0, &[["*", "shop", "c"]][..]);
    let twin = ("y-narrow", "", 0, &[["p", "*", "c"]][..]);
    assert_selected(&pools(&[wide, narrow]), &lb(["", "p", "shop", "c"], Workload::Vm), "z-narrow");
    assert_selected(&pools(&[wide, narrow, twin]), &lb(["", "p", "shop", "c"], Workload::Vm), "y-narrow");
}

#[test]
fn a_named_pool_must_be_open_to_the_load_balancer() {
    let pools = pools(&[
        ("open", "", 0, &[]),
        ("vlan", VLAN10, 0, &[["*", "shop", "*"]]),
        ("theirs", "", 0, &[["*", "bank", "*"]]),
    ]);
    let named = |name: &str, network: &str| {
        let mut lb = lb([network, "", "shop", ""], Workload::Vm);
        lb.pool = Some(name.into());
        select(&pools, &lb).map(|pool| pool.name.clone())
    };
    assert_eq!(named("open", ""), Ok("open".into()));
    assert_eq!(named("vlan", ""), Ok("vlan".into()));
    assert_eq!(named("vlan", "default/vlan11"), Err(SelectPool::OutOfScope("vlan".into())));
    assert_eq!(named("theirs", ""), Err(SelectPool::OutOfScope("theirs".into())));
    assert_eq!(named("missing", ""), Err(SelectPool::Unknown("missing".into())));
}

#[test]
fn a_requested_address_selects_the_pool_that_has_it() {
    let pools = pools(&[("one", "", 9, &[["*", "shop", "*"]]), ("two", "", 0, &[["*", "*", "*"]])]);
    let mut lb = lb(["", "", "shop", ""], Workload::Vm);
    assert_selected(&pools, &lb, "one");
    lb.address = Some([10, 0, 1, 7].into());
    assert_selected(&pools, &lb, "two");
    lb.address = Some([10, 0, 9, 7].into());
    assert_eq!(select(&pools, &lb), Err(SelectPool::AddressInNone([10, 0, 9, 7].into())));
}

#[test]
fn no_pool_is_told_in_harvesters_words() {
    let error = select(&[], &lb(["lab/vlan7", "", "shop", "gc1"], Workload::Vm)).unwrap_err();
    let words =
        "no matched IPPool with requirement &{Network:lab/vlan7 Project: Namespace:shop Cluster:gc1}: create";
    assert!(error.to_string().starts_with(words), "{error}");
}
