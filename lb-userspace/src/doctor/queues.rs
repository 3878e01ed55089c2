//! Queues: XDP transmits from every CPU, and some drivers want queues of their own for it.

use serde_json::Value;

use super::ground::{Ground, Interface};
use super::interfaces::driver;
use super::model::{Check, Finding, Severity};
use super::system::System;

pub(super) fn check(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let native = ground.interfaces.iter().filter(|i| i.faces_network() && i.is_native_xdp());
    native.filter_map(|interface| one(system, interface)).collect()
}

fn one(system: &dyn System, interface: &Interface) -> Option<Finding> {
    let name = interface.name.as_str();
    let channels = Channels::of(system, name)?;
    match driver(system, name).as_str() {
        "veth" => veth(system, name, channels),
        "virtio_net" => virtio(name, channels, cpus(system)?),
        "ena" => ena(name, channels),
        _ => None,
    }
}

/// `ethtool -l`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Channels {
    greatest: Counts,
    current: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Counts {
    receive: u32,
    transmit: u32,
    combined: u32,
}

impl Channels {
    fn of(system: &dyn System, interface: &str) -> Option<Self> {
        Self::parse(&system.run("ethtool", &["-l", interface]).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (greatest, current) = text.split_once("Current hardware settings:")?;
        Some(Self { greatest: counts(greatest), current: counts(current) })
    }
}

fn counts(text: &str) -> Counts {
    let count = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    };
    Counts { receive: count("RX:"), transmit: count("TX:"), combined: count("Combined:") }
}

fn cpus(system: &dyn System) -> Option<u32> {
    let text = system.read("/proc/cpuinfo").ok()?;
    u32::try_from(text.lines().filter(|line| line.starts_with("processor")).count()).ok()
}

fn veth(system: &dyn System, name: &str, channels: Channels) -> Option<Finding> {
    let text = system.run("ip", &["-json", "link", "show", "dev", name]).ok()?;
    let links: Value = serde_json::from_str(&text).ok()?;
    // A peer in another network namespace has no name here.
    let peer = links.pointer("/0/link")?.as_str()?;
    let (has, wants) = (channels.current.receive, Channels::of(system, peer)?.current.transmit);
    (has < wants).then(|| {
        let found = format!("{has} receive queues, and its peer {peer} has {wants} transmit queues");
        Finding::new(Severity::Problem, Check::Queues, name, found)
            .why("a veth takes native XDP only with as many receive queues as its peer transmits by")
            .remedy(format!("ethtool -L {peer} tx {has}"))
    })
}

fn virtio(name: &str, channels: Channels, cpus: u32) -> Option<Finding> {
    let (used, greatest) = (channels.current.combined, channels.greatest.combined);
    (greatest > 0 && used + cpus > greatest).then(|| {
        let found = format!("{used} of {greatest} queue pairs are in use, and XDP wants {cpus} more");
        let finding = Finding::new(Severity::Warning, Check::Queues, name, found).why(
            "without a transmit queue for each CPU, XDP shares them under a lock; \
             give the virtual machine two queues a CPU (libvirt: <driver queues='…'/>)",
        );
        let left = greatest.saturating_sub(cpus);
        if left == 0 { finding } else { finding.remedy(format!("ethtool -L {name} combined {left}")) }
    })
}

fn ena(name: &str, channels: Channels) -> Option<Finding> {
    let half = channels.greatest.combined / 2;
    (half > 0 && channels.current.combined > half).then(|| {
        let found = format!("{} of {} channels", channels.current.combined, channels.greatest.combined);
        Finding::new(Severity::Warning, Check::Queues, name, found)
            .why("driver ena takes native XDP only while at most half of its channels are in use")
            .remedy(format!("ethtool -L {name} combined {half}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::port::Hook;
    use crate::doctor::recorded::{Recorded, brief, ground, uplink};

    fn channels(greatest: [u32; 3], current: [u32; 3]) -> String {
        let part = |[rx, tx, both]: [u32; 3]| {
            format!("RX:\t\t{rx}\nTX:\t\t{tx}\nOther:\t\tn/a\nCombined:\t{both}\n")
        };
        let (greatest, current) = (part(greatest), part(current));
        format!(
            "Channel parameters for x:\nPre-set maximums:\n{greatest}Current hardware settings:\n{current}"
        )
    }

    fn findings(system: &Recorded) -> Vec<(Severity, String)> {
        let findings = check(system, &ground(vec![uplink("eth0", Hook::Xdp)]));
        brief(&findings).into_iter().map(|(severity, _, remedy)| (severity, remedy.to_owned())).collect()
    }

    #[test]
    fn a_veth_whose_peer_has_more_queues_is_found() {
        let system = |peer: u32| {
            Recorded::default()
                .with("ethtool -i eth0", "driver: veth\n")
                .with("ip -json link show dev eth0", r#"[{"ifname":"eth0","link":"peer"}]"#)
                .with("ethtool -l eth0", &channels([2, 2, 0], [1, 1, 0]))
                .with("ethtool -l peer", &channels([2, 2, 0], [1, peer, 0]))
        };
        assert_eq!(findings(&system(2)), [(Severity::Problem, "ethtool -L peer tx 1".to_owned())]);
        assert_eq!(findings(&system(1)), []);
    }

    #[test]
    fn virtio_needs_queues_for_every_cpu() {
        let system = |greatest: u32| {
            Recorded::default()
                .with("ethtool -i eth0", "driver: virtio_net\n")
                .with("/proc/cpuinfo", "processor\t: 0\nflags: x\nprocessor\t: 1\n")
                .with("ethtool -l eth0", &channels([0, 0, greatest], [0, 0, 2]))
        };
        assert_eq!(findings(&system(4)), []);
        assert_eq!(findings(&system(3)), [(Severity::Warning, "ethtool -L eth0 combined 1".to_owned())]);
        assert_eq!(findings(&system(2)), [(Severity::Warning, String::new())]);
    }

    #[test]
    fn ena_keeps_half_of_its_channels_for_xdp() {
        let system = |current: u32| {
            Recorded::default()
                .with("ethtool -i eth0", "driver: ena\n")
                .with("ethtool -l eth0", &channels([0, 0, 8], [0, 0, current]))
        };
        assert_eq!(findings(&system(4)), []);
        assert_eq!(findings(&system(8)), [(Severity::Warning, "ethtool -L eth0 combined 4".to_owned())]);
    }
}
