//! Clients follow a VIP whose MAC changes.

use std::net::IpAddr;

use lb_tests::lab::ipv6::Family;
use lb_tests::lab::namespace::{Namespace, output};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::wait;

use crate::fixture::{BRIDGE_XDP, Fixture, SOON, STICK_XDP};

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

/// Whether a host takes the address to be behind the MAC.
fn is_behind(host: &Namespace, address: IpAddr, mac: &str) -> bool {
    let mut show = host.command("ip");
    output(show.args(["neighbour", "show", "to", &address.to_string()])).unwrap().contains(mac)
}
