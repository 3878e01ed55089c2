//! Frames and what others make of them, from `vectors/dnat-frames.json`. Compared from the IP header on.

use lb_common::net::{Ipv4, Ipv6, Mac, Protocol};
use lb_tests::packet::difference;
use lb_tests::program::Verdict::{self, Back, Pass};
use lb_tests::program::{Given, Rig, backend, given, listener, uplink};
use serde::Deserialize;

const CLIENT: (Ipv4, u16) = (Ipv4([198, 51, 100, 10]), 40_000);
const VIP: Ipv4 = Ipv4([203, 0, 113, 80]);
const FRAMES: &str = include_str!("../../vectors/dnat-frames.json");
const ETHERNET: usize = 14;

#[derive(Deserialize)]
struct Case {
    name: String,
    input: String,
    expect: String,
    note: String,
}

impl Case {
    fn input(&self) -> Vec<u8> {
        bytes(&self.input)
    }

    /// Its frame has to become what the file says.
    fn becomes(&self, rig: &mut Rig, verdict: Verdict) {
        self.came(&rig.when(&self.input()), verdict);
    }

    fn came(&self, outcome: &lb_tests::program::Outcome, verdict: Verdict) {
        outcome.then_is(verdict);
        if let Some(difference) = difference(&bytes(&self.expect)[ETHERNET..], &outcome.frame[ETHERNET..]) {
            panic!("{} ({}): {difference}", self.name, self.note);
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().map(|digit| char::from(digit).to_digit(16).expect("hex")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("two digits")).collect()
}

fn cases() -> Vec<Case> {
    serde_json::from_str(FRAMES).expect("the vectors")
}

/// The case whose name begins so.
fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name.starts_with(name)).unwrap_or_else(|| panic!("no case {name}"))
}

/// The frames' own addresses: the server is 10.20.0.11, and everything is sent to 02:00:00:00:00:01.
fn vectors() -> Given {
    let server = Ipv4([10, 20, 0, 11]);
    let mac = Mac([2, 0, 0, 0, 1, 11]);
    given()
        .port(uplink(Mac([2, 0, 0, 0, 0, 1])).in_bridge(9))
        .vip(VIP)
        .listener(listener((VIP, 80), Protocol::Tcp).served_by(&[1]))
        .listener(listener((VIP, 53), Protocol::Udp).index(1).served_by(&[2]))
        .backend(1, backend((server, 8080), mac).in_bridge(9).reply_at_egress())
        .backend(2, backend((server, 5353), mac).of_listener(1).in_bridge(9).reply_at_egress())
}

/// Cases that this module has a test for.
const TRIED: [&str; 9] = [
    "tcp4 syn dnat",
    "tcp4 reply un-dnat",
    "udp4 dnat",
    "udp4 checksum zero",
    "tcp4 with 4-byte router-alert option",
    "tcp4 802.1Q",
    "tcp6 syn",
    "icmp4 frag-needed",
    "icmp4 echo request",
];

#[test]
fn every_case_is_tried() {
    for case in cases() {
        assert!(TRIED.iter().any(|name| case.name.starts_with(name)), "no test for {}", case.name);
    }
}

#[test]
fn clients_packets_become_what_the_vectors_say() {
    for name in ["tcp4 syn dnat", "udp4 dnat", "udp4 checksum zero", "tcp4 with 4-byte router-alert option"] {
        vectors().at_ingress(|rig| case(name).becomes(rig, Pass));
    }
}

#[test]
fn an_answer_becomes_what_the_vectors_say() {
    vectors().at_ingress(|rig| {
        case("tcp4 syn dnat").becomes(rig, Pass);
        let reply = case("tcp4 reply un-dnat");
        assert!(rig.forward_flows().iter().all(|flow| (flow.key.source, 40_000) == CLIENT));
        reply.came(&rig.at_egress(&reply.input()), Pass);
    });
}

#[test]
fn an_echo_request_becomes_what_the_vectors_say() {
    vectors().at_ingress(|rig| case("icmp4 echo request").becomes(rig, Back));
}

#[test]
fn a_tagged_frame_becomes_what_the_vectors_say() {
    vectors().at_ingress(|rig| case("tcp4 802.1Q").becomes(rig, Pass));
}

#[test]
fn a_packet_of_ipv6_becomes_what_the_vectors_say() {
    let case = case("tcp6 syn");
    let destination = |frame: &str| Ipv6::new(bytes(frame)[38..54].try_into().expect("an address"));
    let (vip, server) = (destination(&case.input), destination(&case.expect));
    let server = backend((server, 8080), Mac([2, 0, 0, 0, 1, 11])).in_bridge(9).reply_at_egress();
    let given = vectors().vip_v6(vip).backend(1, server);
    let given = given.listener_v6(listener((vip, 80), Protocol::Tcp).served_by(&[1]));
    given.at_ingress(|rig| case.becomes(rig, Pass));
}

#[test]
fn an_icmp_error_becomes_what_the_vectors_say() {
    vectors().at_ingress(|rig| {
        case("tcp4 syn dnat").becomes(rig, Pass);
        case("icmp4 frag-needed").becomes(rig, Pass);
    });
}
