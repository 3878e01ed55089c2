//! Clients follow a VIP whose MAC changes.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use lb_tests::lab::ipv6::Family;
use lb_tests::lab::namespace::{Namespace, output};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::trunk::TaggedHost;
use lb_tests::lab::{Lab, Spec, wait};

use crate::fixture::{BRIDGE_XDP, Fixture, SOON, STICK_XDP};

/// How long a dial may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Milliseconds for which an entry is trusted without a word: longer than anything here waits.
const LONG: &str = "600000";

#[test]
fn clients_are_told_when_the_bridge_gets_another_mac() {
    clients_follow("br0", &BRIDGE_XDP.take(Topology::Bridge, Hook::Xdp, Family::V4));
}

#[test]
fn clients_are_told_when_the_uplink_gets_another_mac() {
    clients_follow("eth0", &STICK_XDP.take(Topology::Stick, Hook::Xdp, Family::V4));
}

#[test]
fn clients_of_ipv6_are_told_when_the_bridge_gets_another_mac() {
    clients_follow("br0", &BRIDGE_XDP.take(Topology::Bridge, Hook::Xdp, Family::V6));
}

/// As a bridge without a MAC of its own does it when a VM with a lower one starts.
fn clients_follow(interface: &str, fixture: &Fixture) {
    let (client, node) = (fixture.lab.client(), fixture.lab.node());
    let vip = fixture.at(80).ip();
    let family = if vip.is_ipv4() { "ipv4" } else { "ipv6" };
    let trust = format!("{family}/neigh/eth0/base_reachable_time_ms");
    client.sysctl(&trust, LONG).unwrap();
    fixture.until_answered_by(vip, &["vm1", "vm2", "vm3"]);
    let before = node.mac(interface).unwrap();
    assert!(is_behind(client, vip, &before));
    for mac in ["02:00:00:00:02:60", &before] {
        node.ip(&["link", "set", interface, "address", mac]).unwrap();
        wait::until("the client knows of it", SOON, || is_behind(client, vip, mac)).unwrap();
        assert_eq!(fixture.ask(60).len(), 3, "behind {mac}");
    }
    client.sysctl(&trust, "30000").unwrap();
}

#[test]
fn clients_in_a_vlan_are_told_there() {
    let spec = Spec { topology: Topology::Bridge, hook: Hook::Xdp, vms: 1 };
    let lab = Lab::create(spec).unwrap();
    let networks = "dhcp: {networks: {lab/vlan7: {interface: up0, vlan: 7}}}\n";
    let text = lab.installation.configuration(spec.topology, spec.hook) + networks;
    lab.installation.configure(&text).unwrap();
    let host = TaggedHost::create(&lab, 7, &["198.51.100.50/24", "2001:db8:7::50/64"]).unwrap();
    for family in ["ipv4", "ipv6"] {
        host.namespace.sysctl(&format!("{family}/neigh/eth0/base_reachable_time_ms"), LONG).unwrap();
    }
    let _agent = lab.start_agent().unwrap();
    let networked = ["--network", "lab/vlan7"];
    let vips = [("four", "198.51.100.0/24"), ("six", "2001:db8:7::/64")].map(|(name, subnet)| {
        let pool = ["pool", "create", name, "--range", subnet];
        lab.installation.lb(&[&pool[..], &networked].concat()).unwrap();
        lab.create_any_lb(name, &[&["--listener", "80:8080", "--pool", name], &networked[..]].concat())
            .unwrap()
    });
    for vip in vips {
        // Nobody listens on this port, and the VIP says so.
        let closed = SocketAddr::from((vip, 81));
        let refused = || TcpStream::connect_timeout(&closed, PATIENCE).map_err(|error| error.kind());
        wait::until("the VIP answers in its VLAN", SOON, || {
            host.namespace.enter(refused).unwrap().is_err_and(|error| error == ErrorKind::ConnectionRefused)
        })
        .unwrap();
    }
    let before = lab.node().mac("br0").unwrap();
    for mac in ["02:00:00:00:02:60", &before] {
        lab.node().ip(&["link", "set", "br0", "address", mac]).unwrap();
        for vip in vips {
            wait::until("it is known in the VLAN", SOON, || is_behind(&host.namespace, vip, mac)).unwrap();
        }
    }
}

/// Whether a host takes the address to be behind the MAC.
fn is_behind(host: &Namespace, address: IpAddr, mac: &str) -> bool {
    let mut show = host.command("ip");
    output(show.args(["neighbour", "show", "to", &address.to_string()])).unwrap().contains(mac)
}
