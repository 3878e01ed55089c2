//! Who may dial a listener, and how much: source ranges, limits, strictness and ranges of ports.

use std::time::Instant;

use lb_common::net::{Ipv4, Protocol};
use lb_common::policy::{ALLOWED, DENIED, LimitsValue, Rate};
use lb_common::reason::Reason;
use lb_common::vip::{ANSWER_ECHO, DROP_UNSERVED};
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, refused, replied};
use lb_tests::packet::{Endpoint, Packet, flags, packet};
use lb_tests::program::Verdict::{Back, Drop, Pass};
use lb_tests::program::{Given, Hook, Listener, Rig, UNLIMITED, backend, listener};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use crate::scene::*;

const BALANCER: u32 = 3;
/// Another load balancer, on another VIP.
const OTHER_BALANCER: u32 = 4;
const EVERYBODY: (Ipv4, u32) = (Ipv4([0, 0, 0, 0]), 0);

fn web() -> Listener {
    listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(&[WEB_BACKEND])
}

fn dns() -> Listener {
    listener(DNS, Protocol::Udp).index(DNS_LISTENER).served_by(&[DNS_BACKEND])
}

fn at_server(sent: &Packet) -> Packet {
    sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER)
}

/// Both listeners look at source ranges.
fn filtered() -> Given {
    bridge().listener(web().filtered(BALANCER)).listener(dns().filtered(BALANCER))
}

#[test]
fn a_client_in_a_denied_range_is_dropped_by_name() {
    filtered().source(BALANCER, (CLIENT.0, 24), DENIED).at_ingress(|rig| {
        rig.when(&syn()).then_dropped();
        assert_delta!(rig, refused(WEB_LISTENER), reason(Reason::SourceDenied));
        rig.when(&query()).then_dropped();
        assert_delta!(rig, refused(DNS_LISTENER), reason(Reason::SourceDenied));
        let other = syn().from((Ipv4([192, 0, 2, 200]), 1234));
        rig.when(&other).then(Pass, &at_server(&other));
        assert_delta!(rig, opened(WEB_BACKEND), forwarded(WEB_BACKEND, &other));
    });
}

#[test]
fn of_two_ranges_the_longer_prefix_decides() {
    let allowed = (Ipv4([198, 51, 100, 0]), 28);
    let denied_again = (CLIENT.0, 32);
    let neighbour = syn().from((Ipv4([198, 51, 100, 11]), CLIENT.1));
    let given = filtered().source(BALANCER, EVERYBODY, DENIED).source(BALANCER, allowed, ALLOWED).source(
        BALANCER,
        denied_again,
        DENIED,
    );
    given.at_ingress(|rig| {
        rig.when(&syn()).then_dropped();
        rig.when(&syn().from((Ipv4([198, 51, 100, 16]), CLIENT.1))).then_dropped();
        assert_delta!(rig, refused(WEB_LISTENER).times(2), reason(Reason::SourceDenied).times(2));
        rig.when(&neighbour).then(Pass, &at_server(&neighbour));
    });
}

#[test]
fn ranges_are_a_load_balancers_own_and_asked_for_by_its_listeners() {
    let given = bridge()
        .listener(web().filtered(OTHER_BALANCER))
        .source(BALANCER, EVERYBODY, DENIED)
        .source(0, EVERYBODY, DENIED);
    given.at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        // The other listener is of load balancer 0, but does not look.
        rig.when(&query()).then_is(Pass);
    });
}

#[test]
fn a_denied_client_keeps_the_flow_that_it_has() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.set_listener(&web().filtered(BALANCER));
        let denied = filtered().source(BALANCER, EVERYBODY, DENIED);
        rig.enter_policies(&denied);
        rig.when(&ack()).then(Pass, &at_server(&ack()));
        rig.when(&syn().from((CLIENT.0, 1))).then_dropped();
    });
}

/// How many of `packets` pass, and how long it took to try.
fn passing(rig: &mut Rig, packets: impl Iterator<Item = Packet>) -> (u64, f64) {
    let started = Instant::now();
    let passed = packets.filter(|packet| rig.when(packet).is(Pass)).count() as u64;
    // The programs' clock is some milliseconds coarse.
    (passed, started.elapsed().as_secs_f64() + 0.02)
}

/// SYNs of one client.
fn connections(client: Ipv4, count: u16) -> impl Iterator<Item = Packet> {
    (0..count).map(move |port| syn().from((client, 1024 + port)))
}

#[test]
fn new_flows_of_a_client_are_limited_and_those_of_others_are_not() {
    let limits = LimitsValue { source_flows: Rate::new(50), ..UNLIMITED };
    let other = Ipv4([198, 51, 100, 77]);
    let given = bridge().buckets(1024).listener(web().limited(BALANCER)).limits(BALANCER, limits);
    given.at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        let (passed, seconds) = passing(rig, connections(CLIENT.0, 500));
        let earned = 50 + (50.0 * seconds) as u64;
        assert!((49..earned).contains(&passed), "{passed} of 500 in {seconds} s");
        assert_eq!(rig.delta().of(Reason::SourceLimited), 500 - passed);
        let (passed, _) = passing(rig, connections(other, 50));
        assert_eq!(passed, 50, "another client has a burst of its own");
        // The flow that was opened first goes on.
        rig.when(&ack()).then(Pass, &at_server(&ack()));
    });
}

#[test]
fn new_flows_of_all_clients_together_are_limited() {
    let limits = LimitsValue { flows: Rate::new(100), source_flows: Rate::new(60), ..UNLIMITED };
    let given = bridge()
        .buckets(1024)
        .listener(web().limited(BALANCER))
        .listener(dns().limited(BALANCER))
        .limits(BALANCER, limits);
    given.at_ingress(|rig| {
        let everybody = (0..250).map(|client| syn().from((Ipv4([198, 51, 100, client]), 1234)));
        let (passed, seconds) = passing(rig, everybody);
        let earned = 100 + (100.0 * seconds) as u64;
        assert!((100..=earned).contains(&passed), "{passed} of 250 in {seconds} s");
        assert_eq!(rig.delta().of(Reason::BalancerLimited), 250 - passed);
    });
}

#[test]
fn who_exceeds_its_own_limit_takes_nothing_from_the_others() {
    let limits = LimitsValue { flows: Rate::new(100), source_flows: Rate::new(10), ..UNLIMITED };
    let given = bridge().buckets(1024).listener(web().limited(BALANCER)).limits(BALANCER, limits);
    given.at_ingress(|rig| {
        passing(rig, connections(CLIENT.0, 1000));
        let others = (0..70).map(|client| syn().from((Ipv4([192, 0, 2, client]), 1234)));
        assert_eq!(passing(rig, others).0, 70);
    });
}

#[test]
fn packets_of_a_known_flow_are_limited_where_the_backend_says_so() {
    let limits = LimitsValue { source_packets: Rate::new(40), packets: Rate::new(1000), ..UNLIMITED };
    let limited = in_the_bridge(backend(SERVER, SERVER_MAC).of_listener(WEB_LISTENER)).limited(3);
    let given = bridge().backend(WEB_BACKEND, limited).limits(BALANCER, limits);
    given.at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.delta();
        let (passed, seconds) = passing(rig, (0..400).map(|_| ack()));
        let earned = 40 + (40.0 * seconds) as u64;
        assert!((39..earned).contains(&passed), "{passed} of 400 in {seconds} s");
        let over = 400 - passed;
        assert_delta!(
            rig,
            forwarded(WEB_BACKEND, &ack()).times(passed),
            reason(Reason::SourceLimited).times(over),
            refused(WEB_LISTENER).times(over)
        );
        // Answers are nobody's packets but the server's.
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(WEB));
        assert_delta!(rig, replied(WEB_BACKEND, &syn_ack()));
        // Another backend's packets are not asked about.
        rig.when(&query()).then_is(Pass);
    });
}

#[test]
fn a_limit_holds_over_all_cpus() {
    const RATE: u32 = 2000;
    let limits = LimitsValue { flows: Rate::new(RATE), ..UNLIMITED };
    let given = bridge().buckets(4096).listener(web().limited(BALANCER)).limits(BALANCER, limits);
    given.at(Hook::TcIngress, |rig| {
        let cpus: Vec<usize> = usable_cpus();
        let started = Instant::now();
        let (mut passed, mut sent) = (0, 0_u32);
        // Longer than the burst lasts, on each CPU in turn: what one has spent the others must not have.
        while passed <= u64::from(RATE) + 500 && started.elapsed().as_secs() < 20 {
            for &cpu in &cpus {
                stay_on(cpu);
                for _ in 0..50 {
                    let [_, a, b, c] = sent.to_be_bytes();
                    sent += 1;
                    passed += u64::from(rig.when(&syn().from((Ipv4([198, 18 + a, b, c]), 1234))).is(Pass));
                }
            }
        }
        let seconds = started.elapsed().as_secs_f64() + 0.02;
        let earned = f64::from(RATE) * (1.0 + seconds);
        assert!(passed as f64 <= earned * 1.03, "{passed} passed on {cpus:?}, {earned} were earned");
        assert!(passed >= u64::from(RATE), "the burst is granted");
    });
}

fn usable_cpus() -> Vec<usize> {
    let set = nix::sched::sched_getaffinity(Pid::from_raw(0)).expect("the CPUs of this thread");
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()
}

fn stay_on(cpu: usize) {
    let mut here = CpuSet::new();
    here.set(cpu).expect("a CPU's number");
    sched_setaffinity(Pid::from_raw(0), &here).expect("stay on this CPU");
}

#[test]
fn a_cpu_enters_no_more_flows_than_it_may_and_keeps_those_that_it_has() {
    bridge().buckets(1024).new_flows(100).at_ingress(|rig| {
        stay_on(sched_getcpu().expect("a CPU"));
        rig.when(&syn()).then_is(Pass);
        rig.delta();
        let (passed, seconds) = passing(rig, connections(CLIENT.0, 500));
        let earned = 100 + (100.0 * seconds) as u64;
        assert!((99..earned).contains(&passed), "{passed} of 500 in {seconds} s");
        assert_eq!(rig.delta().of(Reason::NodeLimited), 500 - passed);
        rig.when(&ack()).then(Pass, &at_server(&ack()));
    });
}

#[test]
fn a_strict_listener_resets_what_opens_no_connection() {
    bridge().listener(web().strict()).at_ingress(|rig| {
        let sent = ack().tcp_numbered(flags::ACK, 5, 0xdead_beef);
        let reset = packet()
            .ethernet(NODE_MAC, CLIENT_MAC)
            .from(WEB)
            .to(CLIENT)
            .tcp_numbered(flags::RST, 0xdead_beef, 0)
            .window(0)
            .unfragmentable();
        rig.when(&sent).then(Back, &reset);
        assert_delta!(rig, refused(WEB_LISTENER), reason(Reason::NotOpened));
        for stray in [flags::SYN | flags::ACK, flags::FIN | flags::ACK] {
            rig.when(&to_web(stray)).then_is(Back);
        }
        // A RST is answered by nothing.
        rig.when(&to_web(flags::RST)).then_dropped();
        assert_delta!(rig, refused(WEB_LISTENER).times(3), reason(Reason::NotOpened).times(3));
        assert!(rig.flows().is_empty());
        rig.when(&syn()).then(Pass, &at_server(&syn()));
        rig.when(&ack()).then(Pass, &at_server(&ack()));
    });
}

#[test]
fn a_strict_listener_that_drops_says_nothing() {
    bridge().listener(web().strict().drop_unserved()).at_ingress(|rig| {
        rig.when(&ack()).then_dropped();
        assert_delta!(rig, refused(WEB_LISTENER), reason(Reason::NotOpened));
    });
}

/// Ports 8000 to 8063, served by whoever listens on the dialled port of the server.
fn range(protocol: Protocol) -> Given {
    let server: Endpoint = (SERVER.0, 0);
    bridge()
        .listener(listener((VIP, 8000), protocol).ports(10).index(5).served_by(&[OTHER_BACKEND]))
        .backend(OTHER_BACKEND, in_the_bridge(backend(server, SERVER_MAC).of_listener(5)))
}

#[test]
fn a_port_of_a_range_reaches_the_same_port_of_the_server() {
    range(Protocol::Tcp).at_ingress(|rig| {
        for port in [8000, 8017, 8063] {
            let sent = syn().to((VIP, port));
            rig.when(&sent).then(Pass, &at_server(&sent).to((SERVER.0, port)));
            let answer = syn_ack().from((SERVER.0, port));
            rig.at_egress(&answer).then(Pass, &answer.clone().from((VIP, port)));
        }
        for port in [7999, 8064] {
            rig.when(&syn().to((VIP, port))).then_is(Back);
        }
        assert_eq!(rig.delta().of(Reason::NoListenerReset), 2);
        // The other protocol has no such range.
        rig.when(&query().to((VIP, 8017))).then_is(Back);
    });
}

#[test]
fn a_range_of_udp_ports_is_served_as_well() {
    range(Protocol::Udp).at_ingress(|rig| {
        let sent = query().to((VIP, 8042));
        rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to((SERVER.0, 8042)));
        let answer = answer().from((SERVER.0, 8042));
        rig.at_egress(&answer).then(Pass, &answer.clone().from((VIP, 8042)));
    });
}

#[test]
fn a_listener_on_one_port_takes_it_from_a_range() {
    let single = listener((VIP, 8017), Protocol::Tcp).index(WEB_LISTENER).served_by(&[WEB_BACKEND]);
    range(Protocol::Tcp).listener(single).at_ingress(|rig| {
        let sent = syn().to((VIP, 8017));
        rig.when(&sent).then(Pass, &at_server(&sent));
        let beside = syn().to((VIP, 8018));
        rig.when(&beside).then(Pass, &at_server(&beside).to((SERVER.0, 8018)));
    });
}

#[test]
fn a_range_that_nobody_serves_is_refused_or_dropped() {
    let empty = || listener((VIP, 9000), Protocol::Tcp).ports(12).index(5);
    let dropping = |udp: Protocol| listener((VIP, 9000), udp).ports(12).index(5).drop_unserved();
    bridge().listener(empty()).listener(dropping(Protocol::Udp)).at_ingress(|rig| {
        rig.when(&syn().to((VIP, 9001))).then_is(Back);
        assert_delta!(rig, refused(5), reason(Reason::NoBackendReset));
        rig.when(&query().to((VIP, 9001))).then_is(Drop);
        assert_delta!(rig, refused(5), reason(Reason::NoBackendDropped));
    });
}

#[test]
fn what_a_dropping_vip_does_not_serve_is_dropped_on_all_paths() {
    let vip = bridge().vip_with(VIP, ANSWER_ECHO | DROP_UNSERVED);
    let strict = web().strict();
    let empty = listener(DNS, Protocol::Udp).index(DNS_LISTENER);
    vip.listener(strict).listener(empty).at_ingress(|rig| {
        rig.when(&ack()).then_dropped();
        rig.when(&query()).then_dropped();
        rig.when(&syn().to((VIP, 1))).then_dropped();
        rig.when(&query().to((VIP, 1))).then_dropped();
        assert_delta!(
            rig,
            refused(WEB_LISTENER),
            refused(DNS_LISTENER),
            reason(Reason::NotOpened),
            reason(Reason::NoBackendDropped),
            reason(Reason::NoListenerDropped).times(2)
        );
    });
}
