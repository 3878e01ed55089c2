//! Who has the VIPs, and the ways to backends.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::ground::Ground;
use super::model::{Check, Finding, Severity};
use super::system::System;

/// A VIP that is an address of this node is answered by its sockets wherever a packet gets by the programs.
pub(super) fn vips(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let vips = ground.vips();
    if vips.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (interface, address, prefix) in addresses(system) {
        if vips.contains(&address) {
            let found = format!("this VIP is configured on {interface}");
            findings.push(
                Finding::new(Severity::Problem, Check::Addresses, address.to_string(), found)
                    .why(
                        "the node answers for it as well: ARP with another MAC, RST from its own sockets; \
                         masqueraded answers are taken for the node's own",
                    )
                    .remedy(format!("ip address del {address}/{prefix} dev {interface}")),
            );
        }
    }
    findings
}

fn documents(system: &dyn System, arguments: &[&str]) -> Vec<Value> {
    let text = system.run("ip", arguments).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Interface, address and length of its prefix.
fn addresses(system: &dyn System) -> Vec<(String, IpAddr, u64)> {
    let mut addresses = Vec::new();
    for link in documents(system, &["-json", "address", "show"]) {
        for info in link.get("addr_info").and_then(Value::as_array).into_iter().flatten() {
            let prefix = info.get("prefixlen").and_then(Value::as_u64).unwrap_or_default();
            if let Ok(address) = text(info, "local").parse() {
                addresses.push((text(&link, "ifname").to_owned(), address, prefix));
            }
        }
    }
    addresses
}

/// Neighbours that did not answer.
pub(super) fn neighbours(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let backends = ground.backends();
    if backends.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in documents(system, &["-json", "neighbour", "show"]) {
        let Ok(address) = text(&entry, "dst").parse::<IpAddr>() else { continue };
        let states = entry.get("state").and_then(Value::as_array).into_iter().flatten();
        let state = states.filter_map(Value::as_str).find(|state| matches!(*state, "FAILED" | "INCOMPLETE"));
        let Some(state) = state.filter(|_| backends.contains(&address) && seen.insert(address)) else {
            continue;
        };
        let (interface, address) = (text(&entry, "dev"), address.to_string());
        let found = format!("backend on {interface} does not answer ARP: {state}");
        findings.push(
            Finding::new(Severity::Warning, Check::Neighbours, &address, found)
                .why(
                    "its MAC is not known: see that the VM runs, has this address and is connected; \
                     the remedy makes the kernel ask anew",
                )
                .remedy(format!("ip neighbour replace {address} dev {interface} use")),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::{
        BackendReport, BackendsReport, ListenerReport, LoadBalancerReport, NodeReport,
    };
    use crate::doctor::recorded::{Recorded, brief};

    fn ground() -> Ground {
        let backend = BackendReport { address: "192.0.2.11:8080".into(), ..BackendReport::default() };
        let listener = ListenerReport { backends: vec![backend], ..ListenerReport::default() };
        let balancer = LoadBalancerReport {
            address: "192.0.2.200".into(),
            listeners: vec![listener],
            ..LoadBalancerReport::default()
        };
        let backends = BackendsReport { load_balancers: vec![balancer] };
        Ground { agent: Some((NodeReport::default(), backends)), ..Ground::default() }
    }

    #[test]
    fn a_vip_on_the_node_is_found() {
        let system = Recorded::default().with(
            "ip -json address show",
            r#"[{"ifname":"br0","addr_info":[{"local":"192.0.2.1","prefixlen":24},
                {"local":"192.0.2.200","prefixlen":32}]}]"#,
        );
        let remedy = "ip address del 192.0.2.200/32 dev br0";
        assert_eq!(brief(&vips(&system, &ground())), [(Severity::Problem, "192.0.2.200", remedy)]);
    }

    #[test]
    fn backends_that_do_not_answer_are_found_and_others_left_alone() {
        let system = Recorded::default().with(
            "ip -json neighbour show",
            r#"[{"dst":"192.0.2.11","dev":"br0","state":["FAILED"]},
                {"dst":"192.0.2.99","dev":"br0","state":["FAILED"]},
                {"dst":"192.0.2.12","dev":"br0","lladdr":"02:00:00:00:01:02","state":["REACHABLE"]}]"#,
        );
        let remedy = "ip neighbour replace 192.0.2.11 dev br0 use";
        assert_eq!(brief(&neighbours(&system, &ground())), [(Severity::Warning, "192.0.2.11", remedy)]);
    }
}
