//! What routers and servers have to say about a packet reaches who sent it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use lb_tests::lab::beyond::Beyond;
use lb_tests::lab::client::connection::{open_many, pattern};
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::namespace::Namespace;
use lb_tests::lab::server::echo::{self, Echo};
use lb_tests::lab::{SHOP, wait};
use nix::sys::socket::{setsockopt, sockopt};

use crate::fixture::{Fixture, SOON, everywhere, in_ipv6};

everywhere!(bulk_transfers_fit_themselves_to_narrow_links);
in_ipv6!(bulk_transfers_fit_themselves_to_narrow_links: [bridge_tc, router_xdp, stick_xdp]);

/// Once in each topology, and on either hook.
mod a_closed_port_and_a_last_hop_are_told_to_the_client {
    use crate::fixture::everywhere;

    everywhere!(@lab closed_port_and_last_hop bridge_xdp, BRIDGE_XDP, Bridge, Xdp);
    everywhere!(@lab closed_port_and_last_hop router_tc, ROUTER_TC, Router, Tc);
    everywhere!(@lab closed_port_and_last_hop stick_tc, STICK_TC, Stick, Tc);
}

/// Bytes of a bulk transfer: some hundred segments.
const BULK: usize = 500_000;

fn bulk_transfers_fit_themselves_to_narrow_links(fixture: &mut Fixture) {
    let pool: &[&str] = if fixture.family() == Family::V6 { &["--pool", "lab6"] } else { &[] };
    transfer(fixture, fixture.address(), pool);
}

/// Has much go to a server behind a narrow link, and come from one to a client behind another.
fn transfer(fixture: &Fixture, vip: IpAddr, more: &[&str]) {
    let lab = &fixture.lab;
    let beyond = Beyond::create(lab).unwrap();
    let server = Echo::start(&beyond.server.namespace, &beyond.server.name).unwrap();
    let deep = create_deep(fixture, "echo:7/tcp", more);
    let told = forwarded(fixture);
    // Behind the node, a link is narrower than what the client sends.
    let mut connections = open_many(lab.client(), SocketAddr::new(deep, echo::PORT), 1).unwrap();
    connections[0].echo(&pattern(BULK)).unwrap();
    let behind = forwarded(fixture);
    assert!(behind > told, "no error was forwarded to the client");
    // Before it, one is narrower than what the server sends.
    let mut connections = open_many(&beyond.client, SocketAddr::new(vip, echo::PORT), 1).unwrap();
    connections[0].echo(&pattern(BULK)).unwrap();
    assert!(forwarded(fixture) > behind, "no error was forwarded to the server");
    fixture.delete_lb("deep");
    drop(server);
    beyond.remove(lab).unwrap();
}

fn closed_port_and_last_hop(fixture: &mut Fixture) {
    let lab = &fixture.lab;
    let beyond = Beyond::create(lab).unwrap();
    let deep = create_deep(fixture, "closed:9/udp", &[]);
    // Nothing listens there: the server says so, in the VIP's name.
    let refused = told(lab.client(), SocketAddr::new(deep, 9), 64);
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    // The server's router has the last hop left, but the node may be a router, too.
    let unreachable = told(lab.client(), SocketAddr::new(deep, 9), if routes(fixture) { 2 } else { 1 });
    assert_eq!(unreachable.kind(), ErrorKind::HostUnreachable, "{unreachable}");
    fixture.delete_lb("deep");
    beyond.remove(lab).unwrap();
}

/// Is the node a hop on the way to the server?
fn routes(fixture: &Fixture) -> bool {
    fixture.lab.spec.topology != lb_tests::lab::topology::Topology::Bridge
}

/// Creates the load balancer `deep` over the server beyond, and waits until it is reached through its router.
fn create_deep(fixture: &Fixture, listener: &str, more: &[&str]) -> IpAddr {
    let command = ["create", "deep", "--namespace", SHOP, "--selector", "app=deep", "--listener", listener];
    let created = fixture.lab.installation.json(&[&command[..], more, &["--wait"]].concat()).unwrap();
    wait::until("the server's router is known", SOON, || {
        let report =
            fixture.lab.installation.json(&["backend", "list", "deep", "--namespace", SHOP]).unwrap();
        !report.to_string().contains("unresolved")
    })
    .unwrap();
    created.pointer("/status/address").and_then(|address| address.as_str()).unwrap().parse().unwrap()
}

/// How many errors the datapath has sent on.
fn forwarded(fixture: &Fixture) -> u64 {
    let report = fixture.lab.installation.json(&["status"]).unwrap();
    report.pointer("/reasons/icmp_error_forwarded").and_then(serde_json::Value::as_u64).unwrap()
}

/// What the kernel is told about datagrams with this TTL.
fn told(client: &Namespace, server: SocketAddr, ttl: u32) -> io::Error {
    const PATIENCE: Duration = Duration::from_millis(500);
    let ask = || -> io::Result<io::Error> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Without it, errors that may pass are kept from the socket.
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        socket.set_ttl(ttl)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(server)?;
        let mut last = io::Error::other("nothing was told");
        // Errors are limited in rate, and may be lost.
        for _ in 0..6 {
            socket.send(b"?")?;
            match socket.recv(&mut [0; 8]) {
                Ok(_) => return Ok(io::Error::other("answered")),
                Err(error) if error.kind() == ErrorKind::WouldBlock => last = error,
                Err(error) => return Ok(error),
            }
        }
        Ok(last)
    };
    client.enter(ask).unwrap().unwrap()
}
