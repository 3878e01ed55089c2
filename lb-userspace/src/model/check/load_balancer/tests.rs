//! The cases A4 of the reference, with the outcome of our decisions.

use std::time::Duration;

use super::*;
use crate::model::load_balancer::{BackendAddress, Forwarding, HealthCheck, Listener};

/// Listeners, and the problems that they have.
type Case<'a> = (&'a [Listener], &'a [(&'a str, &'a str)]);

fn listener(name: &str, port: i64, backend_port: i64, protocol: &str) -> Listener {
    Listener { name: name.into(), port, protocol: protocol.into(), backend_port, ..Listener::default() }
}

fn lb(listeners: &[Listener]) -> LoadBalancer {
    let mut lb = LoadBalancer::new("shop", "front");
    lb.spec.listeners = listeners.to_vec();
    lb
}

/// Each problem's path and the beginning of what is wrong.
fn problems(lb: &LoadBalancer) -> Vec<(String, String)> {
    lb.check().err().unwrap_or_default().into_iter().map(|error| (error.path, error.problem)).collect()
}

#[track_caller]
fn assert_problems(lb: &LoadBalancer, expected: &[(&str, &str)]) {
    let found = problems(lb);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((path, problem), (expected_path, beginning)) in found.iter().zip(expected) {
        assert_eq!(path, expected_path);
        assert!(problem.starts_with(beginning), "{path}: {problem}");
    }
}

#[test]
fn a4_1_listeners_are_accepted_or_refused_by_the_rules() {
    let cases: [Case<'_>; 11] = [
        (&[], &[("spec.listeners", "no listener")]),
        (
            &[listener("a", 80, 80, "TCP"), listener("a", 81, 81, "TCP")],
            &[("spec.listeners[1].name", "duplicate name")],
        ),
        (
            &[listener("a", 80, 80, "TCP"), listener("b", 80, 81, "tcp")],
            &[("spec.listeners[1].port", "duplicate port")],
        ),
        (&[listener("a", -1, 80, "TCP")], &[("spec.listeners[0].port", "not a port")]),
        (&[listener("a", 70_000, 80, "TCP")], &[("spec.listeners[0].port", "not a port")]),
        (&[listener("a", 80, 0, "TCP")], &[("spec.listeners[0].backendPort", "not a port")]),
        (&[listener("a", 80, 80, "TCP"), listener("b", 81, 81, "TCP")], &[]),
        // D6: two front ports may share a backend port.
        (&[listener("a", 80, 80, "TCP"), listener("b", 81, 80, "TCP")], &[]),
        // D5: unnamed listeners get different names.
        (&[listener("", 80, 80, "TCP"), listener("", 81, 81, "TCP")], &[]),
        (&[listener("a", 53, 53, "TCP"), listener("b", 53, 53, "UDP")], &[]),
        (&[listener("a", 80, 80, "SCTP")], &[("spec.listeners[0].protocol", "unknown protocol")]),
    ];
    for (listeners, expected) in cases {
        assert_problems(&lb(listeners), expected);
    }
}

#[test]
fn an_unnamed_listener_is_named_by_protocol_and_port() {
    let lb = lb(&[listener("", 80, 8080, "tcp")]).with_defaults();
    assert_eq!(lb.spec.listeners, [listener("tcp-80", 80, 8080, "TCP")]);
    let checked = lb.check().unwrap();
    assert_eq!(checked.listeners[0].name, "tcp-80");
    assert_eq!(checked.listeners[0].protocol, lb_common::net::Protocol::Tcp);
}

fn checked_health(health_check: HealthCheck) -> LoadBalancer {
    let mut lb = lb(&[listener("a", 80, 80, "TCP"), listener("b", 32, 32, "UDP")]);
    lb.spec.health_check = Some(health_check);
    lb
}

#[test]
fn a4_11_a_health_check_probes_a_tcp_backend_port() {
    let at = |port| checked_health(HealthCheck { port, ..HealthCheck::default() });
    assert_problems(&at(99), &[("spec.healthCheck.port", "not the backend port of a listener")]);
    assert_problems(&at(32), &[("spec.healthCheck.port", "the backend port of a UDP listener")]);
    assert_problems(&at(-1), &[("spec.healthCheck.port", "not the backend port of a listener")]);
    assert_eq!(at(0).check().unwrap().health_check, None);
}

#[test]
fn a5_3_health_check_defaults_are_one_three_five_and_three() {
    let lb = checked_health(HealthCheck { port: 80, ..HealthCheck::default() });
    let checked = lb.check().unwrap().health_check.unwrap();
    assert_eq!((checked.success_threshold.get(), checked.failure_threshold.get()), (1, 3));
    assert_eq!((checked.period, checked.timeout), (Duration::from_secs(5), Duration::from_secs(3)));
    let stored = lb.with_defaults();
    let expected = HealthCheck {
        port: 80,
        success_threshold: 1,
        failure_threshold: 3,
        period_seconds: 5,
        timeout_seconds: 3,
        ..HealthCheck::default()
    };
    assert_eq!(stored.spec.health_check, Some(expected));
}

#[test]
fn a5_6_a_guest_cluster_is_in_its_management_network_if_it_names_no_other() {
    let network = |workload: &str, annotations: &[(&str, &str)]| {
        let mut lb = lb(&[]);
        lb.spec.workload_type = workload.into();
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        lb.metadata.annotations = annotations.collect();
        lb.with_defaults().metadata.annotation("network").to_owned()
    };
    let management = ("cloudprovider.harvesterhci.io/managementNetwork", "lab/vlan7");
    let named = |name| ("loadbalancer.harvesterhci.io/network", name);
    assert_eq!(network("cluster", &[management]), "lab/vlan7");
    assert_eq!(network("cluster", &[management, named("")]), "lab/vlan7");
    assert_eq!(network("cluster", &[management, named("lab/vlan8")]), "lab/vlan8");
    assert_eq!(network("cluster", &[]), "");
    assert_eq!(network("vm", &[management]), "", "VMs are where their pool is");
}

#[test]
fn a_period_below_the_default_timeout_shortens_it() {
    let lb = checked_health(HealthCheck { port: 80, period_seconds: 1, ..HealthCheck::default() });
    let checked = lb.check().unwrap().health_check.unwrap();
    assert_eq!((checked.period, checked.timeout), (Duration::from_secs(1), Duration::from_secs(1)));
}

#[test]
fn a4_13_health_check_numbers_are_bounded() {
    let lb = checked_health(HealthCheck {
        port: 80,
        success_threshold: -1,
        failure_threshold: 1_001,
        period_seconds: 2,
        timeout_seconds: 3,
        ..HealthCheck::default()
    });
    assert_problems(
        &lb,
        &[
            ("spec.healthCheck.successThreshold", "out of range"),
            ("spec.healthCheck.failureThreshold", "out of range"),
            ("spec.healthCheck.timeoutSeconds", "longer than the period"),
        ],
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let mut lb = lb(&[listener("A", 0, 80, "tcp"), listener("", 80, 70_000, "x")]);
    lb.metadata.name = "1front".into();
    lb.spec.workload_type = "vms".into();
    lb.spec.ip_pool = "Lab".into();
    lb.spec.address = "224.0.0.1".into();
    lb.spec.backend_server_selector =
        [("app".to_owned(), vec![" web".to_owned()]), ("x y".into(), vec![])].into();
    lb.spec.health_check = Some(HealthCheck { port: 80, ..HealthCheck::default() });
    lb.spec.forwarding = Some(Forwarding { mode: "auto".into() });
    lb.spec.unserved = "Refuse".into();
    assert_problems(
        &lb,
        &[
            ("metadata.name", "not a load balancer's name"),
            ("spec.workloadType", "unknown value"),
            ("spec.ipPool", "not a pool's name"),
            ("spec.address", "not an address that a host can have"),
            ("spec.listeners[0].port", "not a port"),
            ("spec.listeners[0].name", "not a listener name"),
            ("spec.listeners[1].protocol", "unknown protocol"),
            ("spec.listeners[1].backendPort", "not a port"),
            ("spec.backendServerSelector[\"app\"][0]", "not a label value"),
            ("spec.backendServerSelector[\"x y\"]", "not a label key"),
            ("spec.backendServerSelector[\"x y\"]", "no value"),
            ("spec.forwarding.mode", "unknown value"),
            ("spec.unserved", "unknown value"),
        ],
    );
}

#[test]
fn an_address_of_either_family_can_be_asked_for() {
    for (address, wrong) in [
        ("192.0.2.80", None),
        ("2001:db8::80", None),
        ("fe80::80", Some("a link-local address")),
        ("::ffff:192.0.2.80", Some("an IPv4 address in disguise")),
        ("ff02::1", Some("not an address that a host can have")),
        ("2001:db8::80/64", Some("not an IP address")),
    ] {
        let mut lb = lb(&[listener("a", 80, 80, "TCP")]);
        lb.spec.address = address.into();
        let expected: Vec<_> = wrong.map(|problem| ("spec.address", problem)).into_iter().collect();
        assert_problems(&lb, &expected);
    }
}

#[test]
fn a_guest_cluster_needs_no_listener() {
    let mut lb = lb(&[]);
    lb.spec.workload_type = "cluster".into();
    lb.spec.ipam = "pool".into();
    assert_eq!(lb.check().unwrap().workload, Workload::Cluster);
}

#[test]
fn a4_19_ipam_and_workload_type_stay_in_their_class() {
    for (old, new, accepted) in [
        ("", "dhcp", false),
        ("pool", "dhcp", false),
        ("dhcp", "pool", false),
        ("dhcp", "", false),
        ("dhcp", "dhcp", true),
        ("pool", "pool", true),
        ("", "", true),
        ("pool", "", true),
        ("", "pool", true),
    ] {
        let [mut before, mut after] = [lb(&[]), lb(&[])];
        (before.spec.ipam, after.spec.ipam) = (old.into(), new.into());
        assert_eq!(after.check_update(&before).is_ok(), accepted, "ipam {old:?} to {new:?}");
        after.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
        assert_eq!(after.check_update(&before), Ok(()), "on the way to deletion");
    }
    for (old, new, accepted) in [
        ("", "cluster", false),
        ("vm", "cluster", false),
        ("cluster", "vm", false),
        ("cluster", "", false),
        ("cluster", "cluster", true),
        ("vm", "vm", true),
        ("", "", true),
        ("vm", "", true),
        ("", "vm", true),
    ] {
        let [mut before, mut after] = [lb(&[]), lb(&[])];
        (before.spec.workload_type, after.spec.workload_type) = (old.into(), new.into());
        assert_eq!(after.check_update(&before).is_ok(), accepted, "workloadType {old:?} to {new:?}");
    }
}

#[test]
fn who_shares_an_address_says_nothing_about_it() {
    let shared = |change: fn(&mut LoadBalancer)| {
        let mut lb = lb(&[listener("a", 80, 80, "TCP")]);
        lb.spec.share_address_with = "other".into();
        change(&mut lb);
        lb
    };
    let owner = NamespacedName::new("shop", "other");
    assert_eq!(shared(|_| ()).check().unwrap().shares, Some(owner));
    assert_problems(
        &shared(|lb| lb.spec.share_address_with = "front".into()),
        &[("spec.shareAddressWith", "is this load balancer itself")],
    );
    assert_problems(
        &shared(|lb| lb.spec.share_address_with = "a/b".into()),
        &[("spec.shareAddressWith", "not a load balancer's name")],
    );
    assert_problems(
        &shared(|lb| lb.spec.ipam = "dhcp".into()),
        &[("spec.shareAddressWith", "an address by DHCP is not shared")],
    );
    assert_problems(
        &shared(|lb| lb.spec.workload_type = "cluster".into()),
        &[("spec.shareAddressWith", "a guest cluster has its own address")],
    );
    let says = |lb: &mut LoadBalancer| {
        lb.spec.ip_pool = "lab".into();
        lb.spec.address = "192.0.2.80".into();
        lb.spec.load_balancer_source_ranges = vec!["192.0.2.0/24".into()];
        lb.spec.denied_source_ranges = vec!["198.51.100.0/24".into()];
        lb.spec.limits = Some(crate::model::policy::Limits::default());
    };
    let fields = ["ipPool", "address", "loadBalancerSourceRanges", "deniedSourceRanges", "limits"];
    let paths = fields.map(|field| format!("spec.{field}"));
    let found: Vec<String> = problems(&shared(says)).into_iter().map(|(path, _)| path).collect();
    assert_eq!(found, paths);
}

#[test]
fn a_chosen_address_is_named_by_an_interface_and_a_subnet() {
    let choosing = |interface: &str, subnet: &str| {
        let mut lb = lb(&[listener("a", 80, 80, "TCP")]);
        lb.spec.backend_address = Some(BackendAddress { interface: interface.into(), subnet: subnet.into() });
        lb
    };
    assert!(choosing("", "").check().unwrap().backend_address.is_any());
    assert!(!choosing("eth1", "192.0.2.0/24").check().unwrap().backend_address.is_any());
    assert_problems(&choosing(&"x".repeat(64), ""), &[("spec.backendAddress.interface", "too long")]);
    assert_problems(&choosing("", "192.0.2.0"), &[("spec.backendAddress.subnet", "not a subnet")]);
}
