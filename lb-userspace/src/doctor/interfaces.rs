//! Interfaces: there, up, and served by the best hook that they have.

use super::ground::{Ground, Interface};
use super::model::{Check, Finding, Severity};
use super::system::System;
use crate::config;
use crate::datapath::port::Hook;

/// Drivers with native XDP in kernels from 5.18 on.
const NATIVE: [&str; 26] = [
    "atlantic",
    "bnxt_en",
    "dpaa2-eth",
    "ena",
    "fec",
    "fm10k",
    "gve",
    "hv_netvsc",
    "i40e",
    "iavf",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "sfc",
    "stmmac",
    "thunderx_nicvf",
    "veth",
    "virtio_net",
];

/// Drivers that take frames of one buffer only, and the greatest MTU with native XDP.
const MTU_LIMITS: [(&str, u32); 1] = [("ena", 3498)];

pub(super) fn check(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let missing = ground.missing.iter().map(|problem| {
        finding(Severity::Problem, "configuration", problem.clone())
            .why("an agent with this configuration does not start")
    });
    let mut findings: Vec<Finding> = missing.collect();
    for interface in &ground.interfaces {
        findings.extend(link(interface));
        if interface.faces_network() {
            let driver = driver(system, &interface.name);
            findings.extend(hook(interface, &driver));
            findings.extend(mtu(interface, &driver));
        }
    }
    findings
}

fn finding(severity: Severity, subject: &str, found: impl Into<String>) -> Finding {
    Finding::new(severity, Check::Interfaces, subject, found)
}

/// The driver's name; empty if it can't be found out.
pub(super) fn driver(system: &dyn System, interface: &str) -> String {
    let text = system.run("ethtool", &["-i", interface]).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("driver: "));
    name.unwrap_or_default().trim().to_owned()
}

fn link(interface: &Interface) -> Option<Finding> {
    (!interface.up).then(|| {
        finding(Severity::Problem, &interface.name, format!("this {} is down", interface.role))
            .why("no packet goes through it")
            .remedy(format!("ip link set dev {} up", interface.name))
    })
}

fn hook(interface: &Interface, driver: &str) -> Option<Finding> {
    let name = interface.name.as_str();
    let reason = &interface.reason;
    let is_virtual = interface.is_virtual;
    match (interface.hook, interface.wanted) {
        (None, _) => Some(
            finding(Severity::Problem, name, format!("the programs are not attached: {reason}"))
                .why("packets that come in there are not balanced"),
        ),
        (Some(Hook::XdpGeneric), config::Hook::Auto) => Some(
            finding(Severity::Warning, name, format!("XDP works in the kernel's generic path: {reason}"))
                .why("each packet is copied first, which costs about half of the throughput"),
        ),
        (Some(Hook::Tc), config::Hook::Auto) if !is_virtual => {
            Some(finding(Severity::Warning, name, format!("the programs work by tc: {reason}")).why(
                "tc sees a packet after the stack has allocated its buffer; native XDP is twice as fast",
            ))
        }
        (Some(Hook::Xdp), config::Hook::Xdp) if is_virtual => {
            Some(finding(Severity::Note, name, "native XDP on a virtual device, as configured").why(
                "its peer loses segmentation offload, and with it two thirds of a bulk transfer's speed",
            ))
        }
        // Without agent nothing has tried yet.
        (Some(Hook::Xdp), _) if !driver.is_empty() && !NATIVE.contains(&driver) && !interface.is_attached => {
            Some(
                finding(Severity::Note, name, format!("driver {driver} is not known to have native XDP"))
                    .why("an agent would fall back to generic XDP, or tc"),
            )
        }
        (Some(_), _) => None,
    }
}

fn mtu(interface: &Interface, driver: &str) -> Option<Finding> {
    let (_, limit) = MTU_LIMITS.into_iter().find(|(name, _)| *name == driver)?;
    let matters = !matches!(interface.wanted, config::Hook::Tc | config::Hook::XdpGeneric);
    (matters && interface.mtu > limit).then(|| {
        let found = format!("MTU {}, and driver {driver} has native XDP up to {limit}", interface.mtu);
        finding(Severity::Warning, &interface.name, found)
            .why("native XDP is refused, so the programs work by a slower hook")
            .remedy(format!("ip link set dev {} mtu {limit}", interface.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::recorded::{Recorded, brief, ground, uplink};

    #[test]
    fn what_keeps_an_interface_from_its_best_hook_is_found() {
        let down = Interface { up: false, ..uplink("eth0", Hook::Xdp) };
        let refused = Interface { hook: None, ..uplink("eth1", Hook::Xdp) };
        let generic = uplink("eth2", Hook::XdpGeneric);
        let jumbo = Interface { mtu: 9001, reason: "MTU".into(), ..uplink("eth3", Hook::Tc) };
        let system = Recorded::default().with("ethtool -i eth3", "driver: ena\nversion: 6\n");
        let findings = check(&system, &ground(vec![down, refused, generic, jumbo]));
        assert_eq!(
            brief(&findings),
            [
                (Severity::Problem, "eth0", "ip link set dev eth0 up"),
                (Severity::Problem, "eth1", ""),
                (Severity::Warning, "eth2", ""),
                (Severity::Warning, "eth3", ""),
                (Severity::Warning, "eth3", "ip link set dev eth3 mtu 3498"),
            ]
        );
    }

    #[test]
    fn a_driver_without_native_xdp_is_told_before_an_agent_tries() {
        let system = Recorded::default().with("ethtool -i eth0", "driver: 8139too\n");
        let findings = check(&system, &ground(vec![uplink("eth0", Hook::Xdp)]));
        assert_eq!(brief(&findings), [(Severity::Note, "eth0", "")]);
        let system = Recorded::default().with("ethtool -i eth0", "driver: mlx5_core\n");
        assert_eq!(check(&system, &ground(vec![uplink("eth0", Hook::Xdp)])), []);
    }
}
