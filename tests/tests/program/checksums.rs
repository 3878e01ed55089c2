//! Checksums in every state in which they meet a program. Full ones are in every other test, too.

use lb_common::net::Ipv4;
use lb_tests::packet::{Checksum, Packet, flags, ones_complement};
use lb_tests::program::Hook;
use lb_tests::program::Verdict::{Back, Pass, Redirect};
use lb_tests::program::uplink;

use crate::scene::*;

fn data(payload: &[u8]) -> Packet {
    to_web(flags::ACK).payload(payload)
}

/// As the bridge gets it.
fn bridged(sent: Packet) -> Packet {
    sent.ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER)
}

/// As the server on the stick's network gets it.
fn returned(sent: Packet) -> Packet {
    sent.ethernet(NODE_MAC, SERVER_MAC).from((VIP, CLIENT.1)).to(SERVER)
}

/// The first payload of two bytes, after an even number of others, for which this holds.
fn payload_with(prefix: &[u8], holds: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    (0..=u16::MAX)
        .map(|word| [prefix, &word.to_be_bytes()].concat())
        .find(|payload| holds(payload))
        .expect("one of 65,536 words")
}

/// A payload with which the full checksum happens to be the folded pseudo-header.
fn ambiguous(packet: &Packet) -> Packet {
    let payload = payload_with(b"ambiguous!", |payload| {
        let packet = packet.clone().payload(payload);
        packet.field() == packet.partial().field()
    });
    packet.clone().payload(&payload)
}

#[test]
fn a_partial_checksum_that_is_passed_stays_partial() {
    bridge().port(uplink(NODE_MAC).in_bridge(BRIDGE).partial_checksums()).at(Hook::Xdp, |rig| {
        for packet in [syn(), data(b"odd"), data(&[0x5a; 1448])] {
            rig.when(&packet.clone().partial()).then(Pass, &bridged(packet.partial()));
        }
        let sent = query().partial();
        rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
    });
}

#[test]
fn a_partial_checksum_that_leaves_is_completed() {
    stick().port(uplink(NODE_MAC).partial_checksums()).at(Hook::Xdp, |rig| {
        for size in [0, 1, 2, 62, 63, 74, 75, 107, 108, 109, 127, 128, 129, 500, 1447, 1448, 8948] {
            let payload: Vec<u8> = (0..size).map(|index: usize| (index * 31 + size) as u8).collect();
            let sent = data(&payload);
            rig.when(&sent.clone().partial()).then(Back, &returned(sent.clone()));
            let sent = query().payload(&payload);
            rig.when(&sent.clone().partial()).then(Back, &returned(sent).to(RESOLVER));
        }
    });
    let port = uplink(NODE_MAC).partial_checksums();
    router().port(port).at(Hook::Xdp, |rig| {
        let expected = data(b"odd").ethernet(INNER_MAC, SERVER_MAC).to(SERVER).routed();
        rig.when(&data(b"odd").partial()).then(Redirect, &expected);
    });
}

#[test]
fn a_partial_answer_is_completed_on_its_way_to_the_client() {
    stick().port(uplink(NODE_MAC).partial_checksums()).at(Hook::Xdp, |rig| {
        rig.when(&syn()).then_is(Back);
        let answer =
            from_web(flags::ACK).ethernet(SERVER_MAC, NODE_MAC).to((VIP, CLIENT.1)).payload(b"five!");
        let expected = answer.clone().ethernet(NODE_MAC, CLIENT_MAC).from(WEB).to(CLIENT);
        rig.when(&answer.partial()).then(Back, &expected);
    });
}

#[test]
fn in_generic_mode_a_partial_checksum_stays_partial_whatever_the_verdict() {
    stick().port(uplink(NODE_MAC).partial_checksums().generic()).at(Hook::Xdp, |rig| {
        for packet in [syn(), data(b"odd"), data(&[0x5a; 1448])] {
            rig.when(&packet.clone().partial()).then(Back, &returned(packet.partial()));
        }
    });
}

#[test]
fn a_full_checksum_that_looks_partial_is_told_by_the_flow() {
    bridge().port(uplink(NODE_MAC).in_bridge(BRIDGE).partial_checksums()).at(Hook::Xdp, |rig| {
        let sent = ambiguous(&data(b""));
        // The sender writes full checksums.
        rig.when(&syn()).then_is(Pass);
        rig.when(&sent).then(Pass, &bridged(sent.clone()));
        // Now it leaves them to its device.
        rig.when(&data(b"certain").partial()).then(Pass, &bridged(data(b"certain").partial()));
        rig.when(&sent).then(Pass, &bridged(sent.clone().partial()));
        // And it writes them again.
        rig.when(&data(b"certain")).then(Pass, &bridged(data(b"certain")));
        rig.when(&sent).then(Pass, &bridged(sent.clone()));
    });
}

#[test]
fn a_first_packet_that_looks_partial_is_taken_for_partial() {
    bridge().port(uplink(NODE_MAC).in_bridge(BRIDGE).partial_checksums()).at(Hook::Xdp, |rig| {
        let sent = ambiguous(&syn());
        rig.when(&sent).then(Pass, &bridged(sent.clone().partial()));
    });
}

#[test]
fn a_first_packet_that_looks_partial_is_full_where_the_last_sender_wrote_full_ones() {
    bridge().port(uplink(NODE_MAC).in_bridge(BRIDGE).partial_checksums()).at(Hook::Xdp, |rig| {
        let sent = ambiguous(&syn());
        rig.when(&syn().from((Ipv4([198, 51, 100, 99]), 4321))).then_is(Pass);
        rig.when(&sent).then(Pass, &bridged(sent.clone()));
        let partial = syn().from((Ipv4([198, 51, 100, 99]), 4322)).partial();
        rig.when(&partial).then_is(Pass);
        rig.forget_flows();
        rig.when(&sent).then(Pass, &bridged(sent.clone().partial()));
    });
}

#[test]
fn the_two_directions_of_a_flow_have_habits_of_their_own() {
    stick().port(uplink(NODE_MAC).partial_checksums()).at(Hook::Xdp, |rig| {
        rig.when(&syn().partial()).then_is(Back);
        let answer = from_web(flags::ACK).ethernet(SERVER_MAC, NODE_MAC).to((VIP, CLIENT.1));
        let full = ambiguous(&answer);
        rig.when(&answer).then_is(Back);
        rig.when(&full).then(Back, &full.clone().ethernet(NODE_MAC, CLIENT_MAC).from(WEB).to(CLIENT));
    });
}

#[test]
fn elsewhere_what_looks_partial_is_full() {
    bridge().at_ingress(|rig| {
        let sent = ambiguous(&syn());
        rig.when(&sent).then(Pass, &bridged(sent.clone()));
    });
}

#[test]
fn an_absent_udp_checksum_stays_absent() {
    let absent = query().checksum(Checksum::Is(0));
    for port in [uplink(NODE_MAC), uplink(NODE_MAC).partial_checksums()] {
        bridge().port(port.in_bridge(BRIDGE)).at_ingress(|rig| {
            let expected = absent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER);
            rig.when(&absent).then(Pass, &expected);
            let back = answer().checksum(Checksum::Is(0));
            rig.at_egress(&back).then(Pass, &back.clone().from(DNS));
        });
        stick().port(port).at_ingress(|rig| {
            rig.when(&absent).then(Back, &returned(absent.clone()).to(RESOLVER));
        });
    }
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_sent_as_ones() {
    let becomes = |payload: &[u8]| query().payload(payload).to(RESOLVER).field() == 0xffff;
    let sent = query().payload(&payload_with(b"", becomes));
    bridge().at_ingress(|rig| {
        rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
    });
    let becomes = |payload: &[u8]| answer().payload(payload).from(DNS).field() == 0xffff;
    let sent = answer().payload(&payload_with(b"", becomes));
    bridge().at_ingress(|rig| {
        rig.when(&query()).then_is(Pass);
        rig.at_egress(&sent).then(Pass, &sent.clone().from(DNS));
    });
}

#[test]
fn a_tcp_checksum_that_comes_out_as_zero_is_sent_as_zero() {
    let sent = data(&payload_with(b"", |payload| data(payload).to(SERVER).field() == 0));
    bridge().at_ingress(|rig| rig.when(&sent).then(Pass, &bridged(sent.clone())));
}

#[test]
fn a_wrong_checksum_stays_as_wrong_as_it_was() {
    // One's complement: the error is what a right field lacks.
    let plus = |a: u16, b: u16| ones_complement(&[&a.to_be_bytes(), &b.to_be_bytes()]);
    let sent = data(b"bit rot");
    for error in [1, 0x0100, 0x8000, 0xfffe] {
        bridge().at_ingress(|rig| {
            let wrong = sent.clone().checksum(Checksum::Is(plus(sent.field(), error)));
            let right = bridged(sent.clone());
            rig.when(&wrong).then(Pass, &right.clone().checksum(Checksum::Is(plus(right.field(), error))));
        });
    }
}
