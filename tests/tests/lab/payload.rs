//! What arrives is what was sent, whatever computes the checksums.

use std::fs;

use lb_tests::lab::client::connection::{echo_datagram, open_many, pattern};
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::namespace::{Namespace, output};
use lb_tests::lab::server::echo;
use lb_tests::lab::{host, topology::Topology};

use crate::fixture::{Fixture, everywhere, in_ipv6};

everywhere!(
    files_of_100_megabytes_arrive_whole,
    payloads_of_every_size_come_back_unchanged,
    no_checksum_is_wrong_whatever_is_offloaded,
    a_hardened_host_drops_nothing_as_invalid,
);

in_ipv6!(
    files_of_100_megabytes_arrive_whole: [bridge_xdp, stick_xdp],
    payloads_of_every_size_come_back_unchanged: [bridge_tc, router_tc, router_xdp, stick_xdp],
    no_checksum_is_wrong_whatever_is_offloaded: [bridge_tc, bridge_xdp, stick_xdp],
    a_hardened_host_drops_nothing_as_invalid: [bridge_tc, bridge_xdp, router_tc],
);

/// Bytes in 100 MB.
const LARGE: usize = 100_000_000;

/// The greatest UDP and TCP payloads that the link takes: its MTU less the headers, without options.
fn link_payloads(family: Family) -> [usize; 2] {
    let network = match family {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    [1500 - network - 8, 1500 - network - 20]
}

fn files_of_100_megabytes_arrive_whole(fixture: &mut Fixture) {
    let path = fixture.lab.directory("files").unwrap().join("large");
    if !path.exists() {
        fs::write(&path, pattern(LARGE)).unwrap();
    }
    let url = format!("http://{}/files/large", fixture.at(80));
    // The shell is in the client's namespace, the file is everybody's.
    let script = format!("set -o pipefail; curl --globoff --silent --fail {url} | sha256sum");
    let received = output(fixture.lab.client().command("bash").args(["-c", &script])).unwrap();
    let sent =
        output(std::process::Command::new("bash").arg("-c").arg(format!("sha256sum < {}", path.display())))
            .unwrap();
    assert_eq!(received, sent);
    // Up and down again through an echo, byte for byte.
    let mut connections = open_many(fixture.lab.client(), fixture.at(echo::PORT), 1).unwrap();
    connections[0].echo(&pattern(LARGE / 5)).unwrap();
}

fn payloads_of_every_size_come_back_unchanged(fixture: &mut Fixture) {
    let errors = checksum_errors(fixture);
    exchange_all_sizes(fixture);
    assert_eq!(checksum_errors(fixture), errors);
}

fn no_checksum_is_wrong_whatever_is_offloaded(fixture: &mut Fixture) {
    let [client, middle, vms] = ends(fixture);
    for combination in 0..8_u8 {
        for (bit, end) in [&client, &middle, &vms].into_iter().enumerate() {
            let on = combination & (1 << bit) != 0;
            for (namespace, interface) in end {
                host::set_offloads(namespace, interface, on).unwrap();
            }
        }
        let errors = checksum_errors(fixture);
        exchange_all_sizes(fixture);
        for mut connection in open_many(fixture.lab.client(), fixture.at(echo::PORT), 6).unwrap() {
            connection.echo(&pattern(2_000_001)).unwrap();
        }
        fixture.ask(12);
        assert_eq!(checksum_errors(fixture), errors, "offloads by end, client first: {combination:03b}");
    }
}

fn a_hardened_host_drops_nothing_as_invalid(fixture: &mut Fixture) {
    let node = fixture.lab.node();
    host::harden(node).unwrap();
    exchange_all_sizes(fixture);
    assert_eq!(fixture.ask(60).len(), 3);
    for vm in &fixture.lab.vms {
        let answers =
            lb_tests::lab::client::http::ask_often(&vm.namespace, fixture.at(80), 60).unwrap().answers();
        assert_eq!(answers.len(), 3, "{} does not reach all: {answers:?}", vm.name);
    }
    assert_eq!(host::invalid_dropped(node).unwrap(), 0);
    host::soften(node).unwrap();
}

/// TCP and UDP payloads around the sizes where headers, padding and the MTU matter.
fn exchange_all_sizes(fixture: &Fixture) {
    let client = fixture.lab.client();
    let server = fixture.at(echo::PORT);
    let [udp, tcp] = link_payloads(fixture.family());
    let common = || [0, 1, 2].into_iter().chain(62..=75).chain([128, 129, 1000]);
    for size in common().chain([udp - 1, udp]) {
        echo_datagram(client, server, &pattern(size))
            .unwrap_or_else(|error| panic!("UDP, {size} bytes: {error:#}"));
    }
    for size in common().chain([tcp - 13, tcp - 12, tcp - 1, tcp, 65_535]) {
        let mut connections = open_many(client, server, 1).unwrap();
        connections[0].echo(&pattern(size)).unwrap_or_else(|error| panic!("TCP, {size} bytes: {error:#}"));
    }
}

/// Those that the receivers at both ends have counted.
fn checksum_errors(fixture: &Fixture) -> u64 {
    let receivers = fixture.lab.vms.iter().map(|vm| &vm.namespace).chain([fixture.lab.client()]);
    receivers.map(|namespace| host::checksum_errors(namespace).unwrap()).sum()
}

type Interfaces = Vec<(Namespace, String)>;

/// The client's interface, the ports of node and switch, and the VMs' interfaces.
fn ends(fixture: &Fixture) -> [Interfaces; 3] {
    let lab = &fixture.lab;
    let mut middle: Interfaces = Vec::new();
    let ports = lab.wiring.switch.as_ref().unwrap_or(lab.node());
    middle.extend(lab.vms.iter().map(|vm| (ports.clone(), vm.name.clone())));
    let (uplinks, routed) = lab.spec.topology.uplinks();
    middle.extend(uplinks.iter().chain(routed).map(|name| (lab.node().clone(), (*name).to_owned())));
    if let Some(switch) = &lab.wiring.switch {
        middle.push((switch.clone(), "node".to_owned()));
    }
    if lab.spec.topology == Topology::Stick {
        middle.push((ports.clone(), "client".to_owned()));
    }
    let client = vec![(lab.client().clone(), "eth0".to_owned())];
    let vms = lab.vms.iter().map(|vm| (vm.namespace.clone(), "eth0".to_owned())).collect();
    [client, middle, vms]
}
