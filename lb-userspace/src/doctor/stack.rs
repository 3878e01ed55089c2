//! Settings of the IP stack that lose balanced packets.

use super::ground::Ground;
use super::model::{Check, Finding, Severity};
use super::system::{System, setting};
use crate::datapath::port::Role;

pub(super) fn check(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let mut findings: Vec<Finding> = forwarding(system, ground).into_iter().collect();
    findings.extend(reverse_path(system, ground));
    findings
}

/// The stack forwards what the programs leave to it: packets whose next hop is not resolved, and answers.
fn forwarding(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    if !ground.routes() {
        return Vec::new();
    }
    let why =
        "this node is a gateway: what the programs leave to the stack, answers among it, is not forwarded";
    let off = |name: &str| {
        let dotted = name.replace('/', ".");
        (setting(system, name) == Some(0)).then(|| {
            Finding::new(Severity::Problem, Check::Stack, &dotted, "0, and interfaces are routed")
                .why(why)
                .remedy(format!("sysctl -w {dotted}=1"))
        })
    };
    if let Some(finding) = off("net/ipv4/ip_forward") {
        return vec![finding];
    }
    let ports = ground.interfaces.iter().filter(|interface| interface.faces_network());
    ports.filter_map(|port| off(&format!("net/ipv4/conf/{}/forwarding", port.name))).collect()
}

/// Strict reverse path filters drop what comes in where its source would not be sent to.
fn reverse_path(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let faces: Vec<_> = ground.interfaces.iter().filter(|interface| interface.faces_network()).collect();
    let uplinks = faces.iter().filter(|interface| interface.role == Role::Uplink).count();
    if uplinks < 2 && !ground.routes() {
        return Vec::new();
    }
    let all = setting(system, "net/ipv4/conf/all/rp_filter").unwrap_or_default();
    let mut findings = Vec::new();
    for interface in faces {
        // Addresses of a bridge's network are the bridge's.
        let device = interface.bridge.as_deref().unwrap_or(&interface.name);
        let own = setting(system, &format!("net/ipv4/conf/{device}/rp_filter")).unwrap_or_default();
        if all.max(own) != 1 {
            continue;
        }
        let name = format!("net.ipv4.conf.{device}.rp_filter");
        let found = format!("strict (own value {own}, all {all}), and packets may take another way back");
        findings.push(
            Finding::new(Severity::Warning, Check::Stack, &name, found)
                .why("packets whose source is reached through another interface are dropped unseen")
                .remedy(format!("sysctl -w {name}=2")),
        );
    }
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::super::ground::Interface;
    use super::*;
    use crate::datapath::port::Hook;
    use crate::doctor::recorded::{Recorded, brief, ground, uplink};

    fn router() -> Ground {
        let inner = Interface { role: Role::Routed, ..uplink("in0", Hook::Xdp) };
        ground(vec![uplink("up0", Hook::Xdp), inner])
    }

    #[test]
    fn a_gateway_must_forward_and_take_other_ways_back() {
        let system = Recorded::default()
            .with("/proc/sys/net/ipv4/ip_forward", "0\n")
            .with("/proc/sys/net/ipv4/conf/all/rp_filter", "0\n")
            .with("/proc/sys/net/ipv4/conf/up0/rp_filter", "1\n")
            .with("/proc/sys/net/ipv4/conf/in0/rp_filter", "2\n");
        assert_eq!(
            brief(&check(&system, &router())),
            [
                (Severity::Problem, "net.ipv4.ip_forward", "sysctl -w net.ipv4.ip_forward=1"),
                (Severity::Warning, "net.ipv4.conf.up0.rp_filter", "sysctl -w net.ipv4.conf.up0.rp_filter=2"),
            ]
        );
    }

    #[test]
    fn a_bridge_needs_neither() {
        let system = Recorded::default()
            .with("/proc/sys/net/ipv4/ip_forward", "0\n")
            .with("/proc/sys/net/ipv4/conf/all/rp_filter", "1\n");
        assert_eq!(check(&system, &ground(vec![uplink("up0", Hook::Tc)])), []);
    }
}
