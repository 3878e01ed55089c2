//! Who may dial a load balancer, and how much.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use lb_tests::lab::client::{connection, http};
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::wait;

use crate::fixture::{BRIDGE_TC, BRIDGE_XDP, Fixture, SOON};

/// How long a dial may take that is answered at all.
const PATIENCE: Duration = Duration::from_secs(1);

#[test]
fn a_denied_client_is_not_served_while_an_allowed_one_is_bridge_tc() {
    a_denied_client_is_not_served_while_an_allowed_one_is(&mut BRIDGE_TC.take(
        Topology::Bridge,
        Hook::Tc,
        Family::V4,
    ));
}

#[test]
fn a_denied_client_is_not_served_while_an_allowed_one_is_bridge_xdp_ipv6() {
    a_denied_client_is_not_served_while_an_allowed_one_is(&mut BRIDGE_XDP.take(
        Topology::Bridge,
        Hook::Xdp,
        Family::V6,
    ));
}

/// The client is denied, the VMs, which are clients as well, are not.
fn a_denied_client_is_not_served_while_an_allowed_one_is(fixture: &mut Fixture) {
    let topology = fixture.lab.spec.topology;
    let client = match fixture.family() {
        Family::V4 => format!("{}/32", topology.client()),
        Family::V6 => format!("{}/128", topology.client_v6()),
    };
    let flags = ["--listener", "web:80:8080/tcp", "--listener", "echo:7/udp", "--deny-source", &client];
    let vip = fixture.create_lb("closed", &flags);
    let web = SocketAddr::from((vip, 80));
    let vm = &fixture.lab.vms[0];
    wait::until("a VM is served", SOON, || {
        http::ask_patiently(&vm.namespace, web, 1, PATIENCE).unwrap().failures.is_empty()
    })
    .unwrap();
    connection::echo_datagram(&vm.namespace, SocketAddr::from((vip, 7)), b"who is it?").unwrap();

    let (tcp, udp) = fixture.lab.client().enter(|| (dial(web), ask(SocketAddr::from((vip, 7))))).unwrap();
    let silence = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
    assert!(silence.contains(&tcp), "the denied client's connection: {tcp}");
    assert!(silence.contains(&udp), "the denied client's datagram: {udp}");
    assert!(fixture.reason("source_denied") >= 2);
    fixture.delete_lb("closed");
}

#[test]
fn a_flood_of_one_client_is_limited_while_others_are_served() {
    const LIMIT: u32 = 20;
    const FLOOD: u32 = 200;
    let fixture = BRIDGE_TC.take(Topology::Bridge, Hook::Tc, Family::V4);
    let limit = LIMIT.to_string();
    let flags = ["--listener", "web:80:8080/tcp", "--limit-source-flows", &limit];
    let vip = fixture.create_lb("calm", &flags);
    let web = SocketAddr::from((vip, 80));
    let vm = &fixture.lab.vms[0];
    wait::until("a VM is served", SOON, || {
        http::ask_patiently(&vm.namespace, web, 1, PATIENCE).unwrap().failures.is_empty()
    })
    .unwrap();

    let refused = fixture.lab.client().enter(|| flood(web, FLOOD)).unwrap();
    // Less than a second: the burst is granted, and what is earned meanwhile.
    assert!(refused >= FLOOD - 3 * LIMIT, "only {refused} of {FLOOD} were held back");
    let limited = fixture.reason("source_limited");
    assert!(limited >= u64::from(refused), "{refused} were held back, {limited} are counted");
    let answers = http::ask_often(&fixture.lab.vms[1].namespace, web, LIMIT / 2).unwrap().answers();
    assert_eq!(answers.values().sum::<u32>(), LIMIT / 2);
    fixture.delete_lb("calm");
}

#[test]
fn a_range_of_ports_reaches_the_ports_that_are_dialled() {
    let fixture = BRIDGE_TC.take(Topology::Bridge, Hook::Tc, Family::V4);
    let vip = fixture.create_lb("ports", &["--listener", "all:8000-8100/tcp"]);
    let served = SocketAddr::from((vip, 8080));
    wait::until("a port of the range is served", SOON, || {
        http::ask_patiently(fixture.lab.client(), served, 1, PATIENCE).unwrap().failures.is_empty()
    })
    .unwrap();
    // Nothing listens on the VMs' port 8081, and nothing on the VIP's port 8101: their RST, and ours.
    for port in [8081, 8101] {
        let kind = fixture.lab.client().enter(|| dial(SocketAddr::from((vip, port)))).unwrap();
        assert_eq!(kind, io::ErrorKind::ConnectionRefused, "port {port}");
    }
    let list = fixture.lab.installation.lb(&["describe", "ports", "--namespace", "shop"]).unwrap();
    assert!(list.contains("8000-8100/TCP") && list.contains("as dialled"), "{list}");
    fixture.delete_lb("ports");
}

/// Why a connection can't be opened.
///
/// # Panics
/// When it can.
fn dial(server: SocketAddr) -> io::ErrorKind {
    TcpStream::connect_timeout(&server, PATIENCE).expect_err("a connection is opened").kind()
}

/// Why a datagram is not answered.
///
/// # Panics
/// When it is.
fn ask(server: SocketAddr) -> io::ErrorKind {
    let socket = UdpSocket::bind(connection::any_port(server)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.connect(server).expect("an address");
    socket.send(&[0x2a; 64]).expect("a datagram is sent");
    socket.recv(&mut [0; 64]).expect_err("a datagram is answered").kind()
}

/// Begins so many connections at once, and gives the number of those that are not open soon after.
fn flood(server: SocketAddr, count: u32) -> u32 {
    let dialling: Vec<_> = (0..count)
        .map(|_| std::thread::spawn(move || TcpStream::connect_timeout(&server, PATIENCE / 2)))
        .collect();
    let opened = dialling.into_iter().filter_map(|thread| thread.join().ok()?.ok()).count();
    count - u32::try_from(opened).unwrap_or(count)
}
