//! Fragments: later ones take the ports that their packet's first one told.

use lb_common::net::Ipv4;
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, replied};
use lb_tests::packet::{Checksum, Packet, flags};
use lb_tests::program::Verdict::{self, Back, Pass, Redirect};
use lb_tests::program::{Given, Hook, Rig, backend, uplink};

use crate::scene::*;

/// Payload enough for three fragments of [`SIZE`] bytes.
const PAYLOAD: [u8; 90] = [0x5a; 90];
const SIZE: usize = 40;

fn question() -> Packet {
    query().payload(&PAYLOAD).identification(0x4242)
}

fn reply() -> Packet {
    answer().payload(&PAYLOAD).identification(0x4343)
}

/// Sends a packet in pieces, and expects another in pieces.
fn in_pieces(rig: &mut Rig, hook: Hook, sent: &Packet, verdict: Verdict, expected: &Packet) {
    for (sent, expected) in sent.fragments(SIZE).iter().zip(expected.fragments(SIZE)) {
        rig.at(hook, sent).then(verdict, &expected);
    }
}

#[test]
fn fragments_follow_their_first_across_the_bridge_and_back() {
    bridge().at_ingress(|rig| {
        let expected = question().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER);
        in_pieces(rig, rig.hook(), &question(), Pass, &expected);
        let pieces = question().fragments(SIZE);
        let counted = |piece| forwarded(DNS_BACKEND, piece);
        let [first, second, third] = &pieces[..] else { panic!("three pieces: {pieces:?}") };
        assert_delta!(rig, opened(DNS_BACKEND), counted(first), counted(second), counted(third));
        in_pieces(rig, Hook::TcEgress, &reply(), Pass, &reply().from(DNS));
        let pieces = reply().fragments(SIZE);
        let counted = |piece| replied(DNS_BACKEND, piece);
        assert_delta!(rig, counted(&pieces[0]), counted(&pieces[1]), counted(&pieces[2]));
    });
}

#[test]
fn fragments_follow_their_first_on_a_stick_and_back() {
    stick().at_ingress(|rig| {
        let expected = question().ethernet(NODE_MAC, SERVER_MAC).from((VIP, CLIENT.1)).to(RESOLVER);
        in_pieces(rig, rig.hook(), &question(), Back, &expected);
        let from_server = reply().ethernet(SERVER_MAC, NODE_MAC).to((VIP, CLIENT.1));
        let expected = reply().ethernet(NODE_MAC, CLIENT_MAC).from(DNS);
        in_pieces(rig, rig.hook(), &from_server, Back, &expected);
    });
}

#[test]
fn fragments_follow_their_first_through_the_router_and_back() {
    router().at_ingress(|rig| {
        let expected = question().ethernet(INNER_MAC, SERVER_MAC).to(RESOLVER).routed();
        in_pieces(rig, rig.hook(), &question(), Redirect, &expected);
        let from_server = reply().ethernet(SERVER_MAC, NODE_MAC);
        let expected = reply().ethernet(NODE_MAC, CLIENT_MAC).from(DNS).routed();
        in_pieces(rig, rig.hook(), &from_server, Back, &expected);
    });
}

#[test]
fn fragments_of_tcp_follow_their_first() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        let sent = ack().payload(&PAYLOAD);
        in_pieces(rig, rig.hook(), &sent, Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
    });
}

#[test]
fn fragments_may_have_options_and_an_absent_checksum() {
    bridge().at_ingress(|rig| {
        let sent = question().options(&[0x94, 4, 0, 0]).checksum(Checksum::Is(0));
        let expected = sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER);
        in_pieces(rig, rig.hook(), &sent, Pass, &expected);
    });
}

#[test]
fn fragments_are_full_whatever_their_sender_does_else() {
    let port = uplink(NODE_MAC).in_bridge(BRIDGE).partial_checksums();
    bridge().port(port).at(Hook::Xdp, |rig| {
        let whole = query().partial();
        rig.when(&whole).then(Pass, &whole.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
        let expected = question().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER);
        in_pieces(rig, Hook::Xdp, &question(), Pass, &expected);
        rig.when(&whole).then(Pass, &whole.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
    });
}

#[test]
fn a_later_fragment_without_its_first_is_dropped_by_name() {
    bridge().at_ingress(|rig| {
        let [first, second, _] = &question().fragments(SIZE)[..] else { panic!("three pieces") };
        rig.when(second).then_dropped();
        rig.when(first).then_is(Pass);
        rig.delta();
        rig.when(&second.clone().identification(0x4241)).then_dropped();
        rig.when(&second.clone().from((Ipv4([198, 51, 100, 11]), 0))).then_dropped();
        rig.when(&second.clone().protocol(6)).then_dropped();
        assert_delta!(rig, reason(Reason::FragmentUnknown).times(3));
        rig.when(second).then_is(Pass);
    });
}

#[test]
fn a_later_fragment_that_comes_too_late_is_dropped() {
    bridge().at_ingress(|rig| {
        let [first, second, _] = &question().fragments(SIZE)[..] else { panic!("three pieces") };
        rig.when(first).then_is(Pass);
        rig.age_fragments(14);
        rig.when(second).then_is(Pass);
        rig.age_fragments(1);
        rig.delta();
        rig.when(second).then_dropped();
        assert_delta!(rig, reason(Reason::FragmentUnknown));
    });
}

#[test]
fn an_answers_later_fragment_without_its_first_is_left_alone() {
    bridge().at_ingress(|rig| {
        rig.when(&query()).then_is(Pass);
        rig.delta();
        let pieces = reply().fragments(SIZE);
        rig.at_egress(&pieces[1]).then_untouched();
        rig.when(&pieces[1]).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn fragments_of_an_answer_are_left_alone_where_answers_are() {
    bridge().at_ingress(|rig| {
        rig.when(&query()).then_is(Pass);
        let pieces = reply().fragments(SIZE);
        rig.at_egress(&pieces[0]).then_is(Pass);
        rig.delta();
        // At ingress of the VM's port, though egress knows the packet already.
        for piece in &pieces {
            rig.when(piece).then_untouched();
        }
        assert_delta!(rig);
    });
}

#[test]
fn a_refused_packets_other_fragments_are_dropped() {
    bridge().at_ingress(|rig| {
        let pieces = question().to((VIP, 54)).fragments(SIZE);
        rig.when(&pieces[0]).then_is(Back);
        rig.when(&pieces[1]).then_dropped();
        assert_delta!(rig, reason(Reason::NoListenerUnreachable), reason(Reason::FragmentUnknown));
    });
}

#[test]
fn a_first_fragment_that_hides_its_header_is_dropped_by_name() {
    bridge().at_ingress(|rig| {
        for packet in [syn().payload(&PAYLOAD), ack().payload(&PAYLOAD)] {
            let tiny = &packet.fragments(16)[0];
            rig.when(tiny).then_dropped();
        }
        assert_delta!(rig, reason(Reason::Fragment).times(2));
        assert!(rig.flows().is_empty());
    });
}

#[test]
fn a_fragment_that_could_overwrite_flags_is_dropped_by_name() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.when(&ack().payload(&PAYLOAD).fragments(SIZE)[0]).then_is(Pass);
        rig.delta();
        rig.when(&ack().protocol(6).payload(&[flags::SYN; 24]).fragment(1, true)).then_dropped();
        assert_delta!(rig, reason(Reason::Fragment));
    });
}

#[test]
fn a_dead_backends_later_fragments_are_dropped() {
    bridge().at_ingress(|rig| {
        let pieces = question().fragments(SIZE);
        rig.when(&pieces[0]).then_is(Pass);
        rig.set_backend(DNS_BACKEND, in_the_bridge(backend(RESOLVER, SERVER_MAC)).dead());
        rig.delta();
        rig.when(&pieces[1]).then_dropped();
        assert_delta!(rig, reason(Reason::FragmentUnknown));
    });
}

#[test]
fn fragments_of_other_protocols_to_a_vip_are_dropped_by_name() {
    bridge().at_ingress(|rig| {
        rig.when(&query().protocol(47).payload(&[0; 16]).fragment(0, true)).then_dropped();
        rig.when(&query().protocol(47).payload(&[0; 16]).fragment(2, false)).then_dropped();
        assert_delta!(rig, reason(Reason::ProtocolUnknown).times(2));
    });
}

#[test]
fn fragments_to_others_are_left_alone() {
    let given: Given = bridge();
    given.at_each(&Hook::ALL, |rig| {
        for piece in question().to((Ipv4([203, 0, 113, 81]), 53)).fragments(SIZE) {
            rig.when(&piece).then_untouched();
        }
        assert_delta!(rig);
    });
}
