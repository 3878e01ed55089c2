//! Where programs are attached, and that they stay.

use std::collections::BTreeMap;
use std::process::Command as Process;

use super::super::attach::TcKind;
use super::super::*;
use super::{Directory, SETTINGS, fill, in_namespace};
use crate::datapath::model::Mac;
use crate::datapath::port::{Hook, Role};

pub(super) fn ip(arguments: &str) {
    let output = Process::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn tell(program: &str, arguments: &str) -> String {
    let output = Process::new(program).args(arguments.split_whitespace()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A veth pair, both ends in this namespace. The interface index of the first end.
pub(super) fn veth(name: &str) -> u32 {
    ip(&format!("link add {name} type veth peer name {name}p"));
    ip(&format!("link set {name} up"));
    nix::net::if_::if_nametoindex(name).unwrap()
}

pub(super) fn port(ifindex: u32, name: &str, role: Role, hook: config::Hook) -> Port {
    Port {
        ifindex,
        name: name.to_owned(),
        role,
        hook,
        is_virtual: true,
        without_native_xdp: None,
        partial_checksums: true,
        bridge: 0,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        xdp_program: None,
    }
}

pub(super) fn ports(list: &[Port]) -> BTreeMap<u32, Port> {
    list.iter().map(|port| (port.ifindex, port.clone())).collect()
}

pub(super) fn program_of(interface: &str) -> Option<u32> {
    let text = tell("ip", &format!("link show dev {interface}"));
    let words: Vec<_> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "prog/xdp")?;
    words.get(at + 2)?.parse().ok()
}

#[test]
fn hooks_are_chosen_and_outlive_the_agent() {
    in_namespace(|directory| {
        let (uplink, vm) = (veth("up0"), veth("vm0"));
        let wanted = ports(&[
            port(uplink, "up0", Role::Uplink, config::Hook::Xdp),
            port(vm, "vm0", Role::VmPort, config::Hook::Tc),
        ]);
        let mut kernel = directory.open().unwrap();
        let served = kernel.serve(&wanted).unwrap();
        assert_eq!(served.refused, []);
        assert_eq!([served.attached[&uplink].hook, served.attached[&vm].hook], [Hook::Xdp, Hook::Tc]);
        let value = kernel.maps.ports.get(&uplink, 0).unwrap();
        assert_eq!(value, wire::port_value(&wanted[&uplink], Hook::Xdp, false));
        let links = kernel.pins.link_names().unwrap().into_iter().collect::<std::collections::BTreeSet<_>>();
        let names = [
            format!("{uplink}-xdp"),
            format!("{uplink}-tc-egress"),
            format!("{vm}-tc-ingress"),
            format!("{vm}-tc-egress"),
        ];
        assert_eq!(links, names.into_iter().collect());

        let before = program_of("up0").unwrap();
        drop(kernel);
        assert_eq!(program_of("up0"), Some(before), "attached without an agent");
        let mut kernel = directory.open().unwrap();
        assert_eq!(kernel.serve(&wanted).unwrap().attached[&uplink].hook, Hook::Xdp);
        assert_eq!(program_of("up0"), Some(before), "and by the next one");
    });
}

#[test]
fn interfaces_that_are_gone_or_unwanted_are_let_go() {
    in_namespace(|directory| {
        let (one, two) = (veth("one"), veth("two"));
        let both = ports(&[
            port(one, "one", Role::Uplink, config::Hook::Xdp),
            port(two, "two", Role::VmPort, config::Hook::Tc),
        ]);
        let mut kernel = directory.open().unwrap();
        kernel.serve(&both).unwrap();
        ip("link del two");
        kernel.serve(&BTreeMap::new()).unwrap();
        assert_eq!(kernel.pins.link_names().unwrap(), Vec::<String>::new());
        assert_eq!(program_of("one"), None);
        assert_eq!(kernel.maps.ports.get(&one, 0).unwrap(), lb_common::port::PortValue::default());

        kernel.serve(&ports(&[both[&one].clone()])).unwrap();
        drop(kernel);
        ip("link del one");
        let kernel = directory.open().unwrap();
        assert_eq!(kernel.pins.link_names().unwrap(), Vec::<String>::new(), "gone while no agent ran");
    });
}

#[test]
fn auto_takes_tc_on_virtual_devices_and_xdp_on_others() {
    in_namespace(|directory| {
        let ifindex = veth("up0");
        let mut wanted = port(ifindex, "up0", Role::Uplink, config::Hook::Auto);
        let mut kernel = directory.open().unwrap();
        let served = kernel.serve(&ports(&[wanted.clone()])).unwrap();
        assert_eq!(served.attached[&ifindex].hook, Hook::Tc);
        assert!(served.attached[&ifindex].reason.contains("virtual"), "{served:?}");
        wanted.is_virtual = false;
        drop(kernel);
        let mut kernel = directory.open().unwrap();
        let served = kernel.serve(&ports(&[wanted])).unwrap();
        assert_eq!(served.attached[&ifindex].hook, Hook::Xdp);
        assert!(!kernel.pins.link_names().unwrap().contains(&format!("{ifindex}-tc-ingress")));
    });
}

#[test]
fn somebody_elses_xdp_program_is_named_and_left_alone() {
    in_namespace(|directory| {
        let ifindex = veth("up0");
        let other = Directory::new();
        let mut owner = other.open().unwrap();
        owner.serve(&ports(&[port(ifindex, "up0", Role::Uplink, config::Hook::Xdp)])).unwrap();
        let id = program_of("up0");

        let mut wanted = port(ifindex, "up0", Role::Uplink, config::Hook::Xdp);
        wanted.xdp_program = id;
        let mut kernel = directory.open().unwrap();
        let served = kernel.serve(&ports(&[wanted.clone()])).unwrap();
        let reason = &served.refused[0].reason;
        assert!(reason.contains("\"lb_xdp\"") && reason.contains("hooks: {up0: tc}"), "{reason}");
        assert_eq!(kernel.pins.link_names().unwrap(), Vec::<String>::new());

        wanted.hook = config::Hook::Auto;
        wanted.is_virtual = false;
        let served = kernel.serve(&ports(&[wanted])).unwrap();
        assert_eq!(served.attached[&ifindex].hook, Hook::Tc);
        assert!(served.attached[&ifindex].reason.contains("another XDP program"), "{served:?}");
        assert_eq!(program_of("up0"), id);
    });
}

#[test]
fn before_tcx_filters_are_attached_replaced_and_removed() {
    in_namespace(|directory| {
        let ifindex = veth("up0");
        let wanted = ports(&[port(ifindex, "up0", Role::Uplink, config::Hook::Tc)]);
        let filters = || {
            let both = [tell("tc", "filter show dev up0 ingress"), tell("tc", "filter show dev up0 egress")];
            both.map(|text| text.matches("direct-action").count())
        };
        let open = || Kernel::open_with(&directory.0, &SETTINGS, TcKind::Clsact).unwrap();
        let mut kernel = open();
        assert_eq!(kernel.serve(&wanted).unwrap().refused, []);
        assert_eq!(filters(), [1, 1]);
        drop(kernel);
        assert_eq!(filters(), [1, 1], "attached without an agent");
        let mut kernel = open();
        assert_eq!(kernel.serve(&wanted).unwrap().refused, []);
        assert_eq!(filters(), [1, 1], "replaced");
        kernel.serve(&BTreeMap::new()).unwrap();
        assert_eq!(filters(), [0, 0]);
    });
}

#[test]
fn detaching_leaves_nothing() {
    in_namespace(|directory| {
        let ifindex = veth("up0");
        let mut kernel = directory.open().unwrap();
        kernel.serve(&ports(&[port(ifindex, "up0", Role::Uplink, config::Hook::Xdp)])).unwrap();
        fill(&mut kernel);
        drop(kernel);
        assert!(Kernel::detach(&directory.0).unwrap());
        assert!(!directory.0.exists());
        assert_eq!(program_of("up0"), None);
        assert!(!Kernel::detach(&directory.0).unwrap(), "nothing is left");
    });
}
