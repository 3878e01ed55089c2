//! Who answers, and whom the VMs see.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lb_tests::lab::client::connection::any_port;
use lb_tests::lab::client::http;
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::namespace::output;
use lb_tests::lab::server::dns;
use lb_tests::lab::topology::Topology;
use lb_tests::lab::{Vm, facts::Fact, wait};

use crate::fixture::{Fixture, SOON, everywhere, in_ipv6};

everywhere!(
    requests_spread_within_three_sigma,
    dns_questions_reach_every_vm,
    vms_see_the_client_where_answers_pass_the_node,
    c11_a_listener_on_a_port_of_the_host_reaches_the_vms,
    c12_host_ports_are_not_reachable_through_a_vip,
    c41_a_vm_reaches_the_vip_that_it_serves,
    c6_a_vm_of_another_namespace_is_never_chosen,
    two_load_balancers_share_nothing_but_the_node,
);

in_ipv6!(
    requests_spread_within_three_sigma: [bridge_tc, router_xdp, stick_xdp],
    dns_questions_reach_every_vm: [bridge_xdp, router_tc, stick_xdp],
    vms_see_the_client_where_answers_pass_the_node: [bridge_tc, router_xdp, stick_xdp],
    c12_host_ports_are_not_reachable_through_a_vip: [bridge_tc, router_xdp],
    c41_a_vm_reaches_the_vip_that_it_serves: [bridge_tc, stick_xdp],
);

fn requests_spread_within_three_sigma(fixture: &mut Fixture) {
    const REQUESTS: u32 = 600;
    let vms = fixture.lab.vms.len();
    let share = 1.0 / f64::from(u32::try_from(vms).unwrap());
    let mean = f64::from(REQUESTS) * share;
    let sigma = (mean * (1.0 - share)).sqrt();
    let is_fair = |answers: &BTreeMap<String, u32>| {
        answers.len() == vms && answers.values().all(|count| (f64::from(*count) - mean).abs() <= 3.0 * sigma)
    };
    let first = fixture.ask(REQUESTS);
    // One fair draw in a hundred is outside; two in a row are one in ten thousand.
    let answers = if is_fair(&first) { first.clone() } else { fixture.ask(REQUESTS) };
    assert!(is_fair(&answers), "{first:?}, then {answers:?}; expected {mean} ± 3 × {sigma:.1} each");
}

fn dns_questions_reach_every_vm(fixture: &mut Fixture) {
    let server = format!("@{}", fixture.address());
    let mut answers = BTreeMap::new();
    for _ in 0..60 {
        let arguments = ["+short", "+tries=1", "+time=2", "TXT", dns::QUESTION, &server];
        let text = output(fixture.lab.client().command("dig").args(arguments)).unwrap();
        *answers.entry(text.trim().trim_matches('"').to_owned()).or_insert(0) += 1;
    }
    let names: Vec<&str> = answers.keys().map(String::as_str).collect();
    assert_eq!(names, ["vm1", "vm2", "vm3"], "{answers:?}");
}

fn vms_see_the_client_where_answers_pass_the_node(fixture: &mut Fixture) {
    const REQUESTS: usize = 30;
    let logs = |fixture: &Fixture| -> Vec<Vec<String>> {
        fixture.http.values().map(|server| server.clients().unwrap()).collect()
    };
    let before = logs(fixture);
    fixture.ask(u32::try_from(REQUESTS).unwrap());
    let after = logs(fixture);
    let fresh = before.iter().zip(&after).flat_map(|(before, after)| &after[before.len()..]);
    let topology = fixture.lab.spec.topology;
    // On a stick the answers would go past the node, so it is the VIP that asks.
    let expected = match fixture.family() {
        _ if topology == Topology::Stick => fixture.address(),
        Family::V4 => topology.client().into(),
        Family::V6 => topology.client_v6().into(),
    };
    assert_eq!(fresh.collect::<Vec<_>>(), vec![&expected.to_string(); REQUESTS]);
}

fn c12_host_ports_are_not_reachable_through_a_vip(fixture: &mut Fixture) {
    const PORT: u16 = 2222;
    // Such sockets take IPv4 as well.
    let any = (Ipv6Addr::UNSPECIFIED, PORT);
    let sockets = fixture
        .lab
        .node()
        .enter(|| (TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap()))
        .unwrap();
    sockets.1.set_nonblocking(true).unwrap();
    let server = fixture.at(PORT);
    let (tcp, udp, took) = fixture
        .lab
        .client()
        .enter(|| {
            let started = Instant::now();
            let tcp = TcpStream::connect_timeout(&server, Duration::from_secs(2)).map(drop);
            (tcp, exchange(server), started.elapsed())
        })
        .unwrap();
    assert_eq!(tcp.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(udp.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(took < Duration::from_secs(2), "the refusals took {took:?}");
    assert!(sockets.1.recv(&mut [0; 16]).is_err(), "the node's socket has received something");
}

fn c11_a_listener_on_a_port_of_the_host_reaches_the_vms(fixture: &mut Fixture) {
    const PORT: u16 = 2222;
    let any = (Ipv6Addr::UNSPECIFIED, PORT);
    let own = fixture.lab.node().enter(|| TcpListener::bind(any).unwrap()).unwrap();
    own.set_nonblocking(true).unwrap();
    let vip = fixture.create_lb("shadowed", &["--listener", "2222:8080/tcp", "--selector", "app=web"]);
    let server = SocketAddr::from((vip, PORT));
    let answers = || http::ask_often(fixture.lab.client(), server, 60).unwrap().answers();
    wait::until("all VMs answer", SOON, || answers().len() == 3).unwrap();
    assert_eq!(own.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "the node's socket was reached");
    fixture.delete_lb("shadowed");
}

/// Sends a datagram on a connected socket, which hears of ICMP errors.
fn exchange(server: SocketAddr) -> io::Result<usize> {
    let socket = UdpSocket::bind(any_port(server))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.connect(server)?;
    // Long enough for the answer, which quotes its beginning, to fit into its place.
    socket.send(&[0x2a; 64])?;
    socket.recv(&mut [0; 16])
}

fn c41_a_vm_reaches_the_vip_that_it_serves(fixture: &mut Fixture) {
    for vm in &fixture.lab.vms {
        let answers = http::ask_often(&vm.namespace, fixture.at(80), 60).unwrap().answers();
        assert!(answers.contains_key(&vm.name), "{} never reaches itself: {answers:?}", vm.name);
        assert_eq!(answers.len(), 3, "{} does not reach the others: {answers:?}", vm.name);
    }
}

fn c6_a_vm_of_another_namespace_is_never_chosen(fixture: &mut Fixture) {
    let mut facts = fixture.lab.facts();
    facts[0].namespace = "elsewhere".to_owned();
    fixture.lab.write_facts(&facts).unwrap();
    fixture.until_answered_by(fixture.vip, &["vm2", "vm3"]);
    assert!(!fixture.ask(100).contains_key("vm1"));
    fixture.lab.write_facts(&fixture.lab.facts()).unwrap();
    fixture.until_answered_by(fixture.vip, &["vm1", "vm2", "vm3"]);
}

fn two_load_balancers_share_nothing_but_the_node(fixture: &mut Fixture) {
    let labelled = |vm: &Vm, app: &str, namespace: &str| {
        let labels = [("app".to_owned(), app.to_owned())].into();
        Fact { labels, namespace: namespace.to_owned(), ..vm.fact() }
    };
    let vms = &fixture.lab.vms;
    let facts = [
        labelled(&vms[0], "web", "shop"),
        labelled(&vms[1], "web", "shop"),
        labelled(&vms[2], "mail", "post"),
    ];
    fixture.lab.write_facts(&facts).unwrap();
    let arguments =
        ["--namespace", "post", "--listener", "web:80:8080/tcp", "--selector", "app=mail", "--wait"];
    let created = fixture.lab.installation.json(&[&["create", "other"][..], &arguments].concat()).unwrap();
    let other: Ipv4Addr = created["status"]["address"].as_str().unwrap().parse().unwrap();
    assert_ne!(other, fixture.vip);
    fixture.until_answered_by(fixture.vip, &["vm1", "vm2"]);
    fixture.until_answered_by(other, &["vm3"]);
    // The other one loses its only VM, then goes: ours does not notice.
    fixture.lab.write_facts(&facts[..2]).unwrap();
    let refused = || {
        let tally = http::ask_often(fixture.lab.client(), SocketAddr::from((other, 80)), 1).unwrap();
        tally.failures.iter().any(|failure| failure.contains("refused"))
    };
    lb_tests::lab::wait::until("the load balancer without a VM refuses", crate::fixture::SOON, refused)
        .unwrap();
    assert_eq!(fixture.ask(60).into_keys().collect::<Vec<_>>(), ["vm1", "vm2"]);
    fixture.lab.installation.lb(&["delete", "other", "--namespace", "post"]).unwrap();
    assert_eq!(fixture.ask(60).into_keys().collect::<Vec<_>>(), ["vm1", "vm2"]);
    fixture.lab.write_facts(&fixture.lab.facts()).unwrap();
    fixture.until_answered_by(fixture.vip, &["vm1", "vm2", "vm3"]);
}
