//! Offloads of the devices that XDP works on: what they merge or hide, XDP can't see.

use super::ground::{Ground, Interface};
use super::model::{Check, Finding, Severity};
use super::system::System;
use crate::config;
use crate::datapath::port::Hook;

/// An offload, the word by which `ethtool -K` switches it, and what it does to XDP.
struct Offload {
    name: &'static str,
    word: &'static str,
    severity: Severity,
    why: &'static str,
    /// Drivers refuse the programs with it: where they are attached, this one does not.
    refused: bool,
}

const NATIVE: [Offload; 3] = [
    Offload {
        name: "large-receive-offload",
        word: "lro",
        severity: Severity::Warning,
        why: "drivers may refuse native XDP with it: merged frames don't fit into their buffers",
        refused: true,
    },
    Offload {
        name: "rx-gro-hw",
        word: "rx-gro-hw",
        severity: Severity::Warning,
        why: "drivers may refuse native XDP with it: merged frames don't fit into their buffers",
        refused: true,
    },
    Offload {
        name: "rx-vlan-offload",
        word: "rxvlan",
        severity: Severity::Warning,
        why: "the device takes VLAN tags off before XDP sees the frame, and what XDP sends back is untagged",
        refused: false,
    },
];

const GENERIC: [Offload; 1] = [Offload {
    name: "generic-receive-offload",
    word: "gro",
    severity: Severity::Warning,
    why: "generic XDP sees merged frames, and can't redirect those that are longer than the MTU",
    refused: false,
}];

pub(super) fn check(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let mut findings = Vec::new();
    for interface in ground.interfaces.iter().filter(|interface| interface.faces_network()) {
        let offloads: &[Offload] = match interface.hook {
            // Virtual devices hand tags and merged frames over as they are.
            _ if interface.is_virtual => &[],
            Some(Hook::XdpGeneric) if interface.wanted == config::Hook::XdpGeneric => &GENERIC,
            _ if interface.wanted == config::Hook::Tc => &[],
            _ => &NATIVE,
        };
        if offloads.is_empty() {
            continue;
        }
        let Ok(text) = system.run("ethtool", &["-k", &interface.name]) else { continue };
        let matter = offloads.iter().filter(|offload| !(offload.refused && interface.is_attached));
        findings.extend(matter.filter_map(|offload| one(interface, offload, &text)));
    }
    findings
}

fn one(interface: &Interface, offload: &Offload, text: &str) -> Option<Finding> {
    let value = |line: &str| line.trim().strip_prefix(offload.name)?.strip_prefix(": ").map(str::to_owned);
    let value = text.lines().find_map(value)?;
    if !value.starts_with("on") {
        return None;
    }
    let name = &interface.name;
    let finding = Finding::new(offload.severity, Check::Offloads, name, format!("{}: {value}", offload.name));
    Some(if value.contains("[fixed]") {
        finding.why(format!("{}; it can't be switched off: configure hooks: {{{name}: tc}}", offload.why))
    } else {
        finding.why(offload.why).remedy(format!("ethtool -K {name} {} off", offload.word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::recorded::{Recorded, brief, ground, uplink};

    const FEATURES: &str = "Features for eth0:\nrx-checksumming: on\ngeneric-receive-offload: on\n\
        large-receive-offload: on\nrx-vlan-offload: on [fixed]\nrx-gro-hw: off [requested on]\n";

    #[test]
    fn offloads_are_found_where_they_matter() {
        let system = Recorded::default().with("ethtool -k eth0", FEATURES);
        let native = check(&system, &ground(vec![uplink("eth0", Hook::Xdp)]));
        assert_eq!(
            brief(&native),
            [(Severity::Warning, "eth0", "ethtool -K eth0 lro off"), (Severity::Warning, "eth0", "")]
        );
        assert!(native.iter().any(|finding| finding.why.contains("hooks: {eth0: tc}")), "{native:?}");
        let attached = Interface { is_attached: true, ..uplink("eth0", Hook::Xdp) };
        assert_eq!(brief(&check(&system, &ground(vec![attached]))), [(Severity::Warning, "eth0", "")]);
        let generic = Interface { wanted: config::Hook::XdpGeneric, ..uplink("eth0", Hook::XdpGeneric) };
        assert_eq!(
            brief(&check(&system, &ground(vec![generic]))),
            [(Severity::Warning, "eth0", "ethtool -K eth0 gro off")]
        );
        let tc = Interface { wanted: config::Hook::Tc, ..uplink("eth0", Hook::Tc) };
        assert_eq!(check(&system, &ground(vec![tc])), []);
    }
}
