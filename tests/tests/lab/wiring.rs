//! The labs themselves, before anything is balanced: a wrong cable must not look like a wrong packet.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use lb_tests::lab::client::{connection, http};
use lb_tests::lab::namespace::{output, with_prefix};
use lb_tests::lab::server::http::Http;
use lb_tests::lab::server::{dns, echo, iperf};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec, host};

const TOPOLOGIES: [Topology; 3] = [Topology::Bridge, Topology::Stick, Topology::Router];

fn lab(topology: Topology) -> Lab {
    Lab::create(Spec { topology, hook: Hook::Xdp, vms: 2 }).unwrap()
}

#[test]
fn clients_reach_vms_directly_in_every_topology() {
    for topology in TOPOLOGIES {
        let lab = lab(topology);
        for vm in &lab.vms {
            let directory = lab.directory("servers").unwrap();
            let _http = Http::start(&vm.namespace, &vm.name, &directory, &directory).unwrap();
            let _iperf = iperf::start(&vm.namespace, &vm.name, &directory).unwrap();
            let _dns = dns::start(&vm.namespace, &vm.name, &directory).unwrap();
            let _echo = echo::Echo::start(&vm.namespace, &vm.name).unwrap();
            for address in [IpAddr::V4(vm.address), IpAddr::V6(vm.address_v6)] {
                let at = |port| SocketAddr::from((address, port));
                let tally = http::ask_often(lab.client(), at(8080), 5).unwrap();
                assert_eq!(tally.answers(), [(vm.name.clone(), 5)].into(), "{topology:?}");
                let address = address.to_string();
                output(lab.client().command("iperf3").args(["-c", &address, "-n", "1M"])).unwrap();
                let name = format!("@{address}");
                let text = output(lab.client().command("dig").args(["+short", "TXT", dns::QUESTION, &name]))
                    .unwrap();
                assert_eq!(text.trim(), format!("\"{}\"", vm.name));
                let mut connections = connection::open_many(lab.client(), at(echo::PORT), 3).unwrap();
                for connection in &mut connections {
                    assert_eq!(connection.vm, vm.name);
                    connection.echo(&connection::pattern(100_000)).unwrap();
                }
                connection::echo_datagram(lab.client(), at(echo::PORT), b"datagram").unwrap();
            }
            assert_eq!(host::checksum_errors(&vm.namespace).unwrap(), 0);
        }
    }
}

#[test]
fn a_hardened_host_and_changed_offloads_pass_plain_traffic() {
    let lab = lab(Topology::Bridge);
    let vm = &lab.vms[0];
    let _echo = echo::Echo::start(&vm.namespace, &vm.name).unwrap();
    host::harden(lab.node()).unwrap();
    for on in [false, true] {
        for (namespace, interface) in [(lab.client(), "eth0"), (lab.node(), "up0"), (&vm.namespace, "eth0")] {
            host::set_offloads(namespace, interface, on).unwrap();
        }
        for address in [IpAddr::V4(vm.address), IpAddr::V6(vm.address_v6)] {
            let server = SocketAddr::from((address, echo::PORT));
            let mut connections = connection::open_many(lab.client(), server, 1).unwrap();
            connections[0].echo(&connection::pattern(100_000)).unwrap();
        }
    }
    assert_eq!(host::invalid_dropped(lab.node()).unwrap(), 0);
    host::soften(lab.node()).unwrap();
    assert!(host::invalid_dropped(lab.node()).is_err());
}

#[test]
fn a_removed_lab_leaves_nothing() {
    let lab = lab(Topology::Router);
    let id = lab.id().clone();
    let vm = &lab.vms[0];
    let directory = lab.directory("servers").unwrap();
    let server = iperf::start(&vm.namespace, &vm.name, &directory).unwrap();
    let process = server.id();
    // Nobody stops it in time: removal has to.
    std::mem::forget(server);
    assert!(id.peer_pins().exists());
    lab.remove().unwrap();
    assert!(with_prefix(&id.prefix()).unwrap().is_empty());
    assert!(!id.directory().exists());
    assert!(!id.peer_pins().exists());
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "iperf3 still runs: {state}");
}

#[test]
fn the_lab_of_a_killed_process_is_swept_at_the_next_start() {
    let lab = lab(Topology::Bridge);
    let id = lab.id().clone();
    lab.keep().unwrap();
    // A process that has run and is gone.
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    fs::write(id.directory().join("owner"), format!("{} 1", gone.id())).unwrap();
    let _next = self::lab(Topology::Stick);
    assert!(with_prefix(&id.prefix()).unwrap().is_empty());
    assert!(!id.directory().exists());
}
