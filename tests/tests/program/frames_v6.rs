//! IPv6: fragments, extension headers, packets that are too long, and errors about flows.

use lb_common::net::Ipv6;
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason};
use lb_tests::packet::{Endpoint, Frame as _, Packet, flags, icmp_error, packet_v6};
use lb_tests::program::Verdict::{self, Back, Pass};
use lb_tests::program::{Hook, Rig, backend};

use crate::scene::{CLIENT_MAC, NODE_MAC, SERVER_MAC, in_the_bridge};
use crate::v6::*;

/// Payload enough for three fragments of [`SIZE`] bytes.
const PAYLOAD: [u8; 90] = [0x5a; 90];
const SIZE: usize = 40;

/// Extension headers, by their numbers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
/// Six bytes of padding, as an option.
const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];

/// A routing header's kind, segments left and padding: all have been visited.
const VISITED: [u8; 6] = [0; 6];

/// ICMPv6 messages, by type and code.
const PORT_UNREACHABLE: (u8, u8) = (1, 4);
const TOO_BIG: (u8, u8) = (2, 0);
const TIME_EXCEEDED: (u8, u8) = (3, 0);

fn question() -> Packet<Ipv6> {
    query().payload(&PAYLOAD).identification(0xdead_4242)
}

fn reply() -> Packet<Ipv6> {
    let sent = packet_v6().ethernet(SERVER_MAC, CLIENT_MAC).from(RESOLVER).to(CLIENT);
    sent.udp().payload(&PAYLOAD).identification(0xdead_4343)
}

fn in_pieces(rig: &mut Rig, hook: Hook, sent: &Packet<Ipv6>, verdict: Verdict, expected: &Packet<Ipv6>) {
    for (sent, expected) in sent.fragments(SIZE).iter().zip(expected.fragments(SIZE)) {
        rig.at(hook, sent).then(verdict, &expected);
    }
}

#[test]
fn fragments_follow_their_first_across_the_bridge_and_back() {
    bridge().at_ingress(|rig| {
        let expected = question().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER);
        in_pieces(rig, rig.hook(), &question(), Pass, &expected);
        let [first, second, third] = &question().fragments(SIZE)[..] else { panic!("three pieces") };
        let counted = |piece| forwarded(2, piece);
        assert_delta!(rig, opened(2), counted(first), counted(second), counted(third));
        in_pieces(rig, Hook::TcEgress, &reply(), Pass, &reply().from(DNS));
    });
}

#[test]
fn fragments_follow_their_first_on_a_stick_and_back() {
    stick().at_ingress(|rig| {
        let hidden: Endpoint<Ipv6> = (VIP, CLIENT.1);
        let expected = question().ethernet(NODE_MAC, SERVER_MAC).from(hidden).to(RESOLVER);
        in_pieces(rig, rig.hook(), &question(), Back, &expected);
        let from_server = reply().ethernet(SERVER_MAC, NODE_MAC).to(hidden);
        let expected = reply().ethernet(NODE_MAC, CLIENT_MAC).from(DNS);
        in_pieces(rig, rig.hook(), &from_server, Back, &expected);
    });
}

#[test]
fn a_later_fragment_without_its_first_is_dropped_by_name() {
    bridge().at_ingress(|rig| {
        let [first, second, _] = &question().fragments(SIZE)[..] else { panic!("three pieces") };
        rig.when(second).then_dropped();
        rig.when(first).then_is(Pass);
        rig.delta();
        // Of the identification, all 32 bits count.
        rig.when(&second.clone().identification(0xbeef_4242)).then_dropped();
        rig.when(&second.clone().from((address(1, 11), 0))).then_dropped();
        assert_delta!(rig, reason(Reason::FragmentUnknown).times(2));
        rig.when(second).then_is(Pass);
    });
}

#[test]
fn a_whole_packet_with_a_fragment_header_is_no_fragment() {
    bridge().at_ingress(|rig| {
        // RFC 6946: an atomic fragment.
        let sent = question().fragment(0, false);
        rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
        assert_delta!(rig, opened(2), forwarded(2, &sent));
    });
}

#[test]
fn a_first_fragment_that_hides_its_header_is_dropped_by_name() {
    bridge().at_ingress(|rig| {
        rig.when(&syn().payload(&PAYLOAD).fragments(16)[0]).then_dropped();
        assert_delta!(rig, reason(Reason::Fragment));
    });
}

#[test]
fn extension_headers_are_walked_both_ways() {
    bridge().at_ingress(|rig| {
        let dresses: [fn(Packet<Ipv6>) -> Packet<Ipv6>; 4] = [
            |packet| packet.extension(HOP_BY_HOP, &PADDING),
            |packet| packet.extension(ROUTING, &VISITED),
            |packet| packet.extension(DESTINATION, &[1; 14]),
            |packet| {
                let packet = packet.extension(HOP_BY_HOP, &PADDING).extension(DESTINATION, &PADDING);
                packet.extension(ROUTING, &VISITED).extension(DESTINATION, &PADDING)
            },
        ];
        for dress in dresses {
            let sent = dress(syn());
            rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
            let back = packet_v6().ethernet(SERVER_MAC, CLIENT_MAC).from(SERVER).to(CLIENT);
            let back = dress(back.tcp(flags::SYN | flags::ACK));
            rig.at_egress(&back).then(Pass, &back.clone().from(WEB));
        }
    });
}

#[test]
fn what_extension_headers_hide_to_a_vip_is_dropped_by_name() {
    bridge().at_ingress(|rig| {
        let many = (0..5).fold(syn(), |packet, _| packet.extension(DESTINATION, &PADDING));
        let long = syn().extension(DESTINATION, &[1; 70]).extension(DESTINATION, &[1; 70]);
        let on_its_way = syn().extension(ROUTING, &[0, 1, 0, 0, 0, 0]);
        let sealed = syn().extension(AUTHENTICATION, &[0; 14]);
        for hidden in [many, long, on_its_way, sealed] {
            rig.when(&hidden).then_dropped();
            assert_delta!(rig, reason(Reason::ExtensionHeaders));
            rig.when(&hidden.to((address(3, 81), 80))).then_untouched();
            assert_delta!(rig);
        }
    });
}

#[test]
fn the_sender_of_a_packet_too_long_for_its_way_is_told() {
    const MTU: u16 = 1400;
    let narrow = in_the_bridge(backend(SERVER, SERVER_MAC).mtu(MTU));
    bridge().backend(1, narrow).at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.delta();
        let long = |length: u16| to(WEB).tcp(flags::ACK).payload(&vec![0x77; usize::from(length) - 60]);
        let outcome = rig.when(&long(MTU + 1));
        outcome.then_is(Back);
        let [high, low] = MTU.to_be_bytes();
        let told = &outcome.frame;
        assert_eq!(told[54..62], [&[2, 0], &told[56..58], &[0, 0, high, low]].concat()[..], "packet too big");
        assert_eq!((&told[22..38], &told[38..54]), (&VIP.bytes()[..], &CLIENT.0.bytes()[..]));
        assert_eq!(told[62..], long(MTU + 1).bytes()[14..][..told.len() - 62], "what it is about");
        assert_delta!(rig, reason(Reason::TooBigAnswered));
        let fits = long(MTU);
        rig.when(&fits).then(Pass, &fits.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
    });
}

#[test]
fn an_error_about_an_answer_reaches_the_backend_that_sent_it() {
    bridge().at_ingress(|rig| {
        rig.when(&query()).then_is(Pass);
        rig.delta();
        let router: Endpoint<Ipv6> = (address(1, 1), 0);
        for kind in [PORT_UNREACHABLE, TOO_BIG, TIME_EXCEEDED] {
            let error = |about: &Packet<_>| icmp_error(about, kind, [0, 0, 5, 0], 90).from(router);
            let sent =
                error(&reply().ethernet(NODE_MAC, CLIENT_MAC).from(DNS)).ethernet(CLIENT_MAC, NODE_MAC);
            rig.when(&sent).then(Pass, &error(&reply()).ethernet(CLIENT_MAC, SERVER_MAC));
        }
        assert_delta!(rig, reason(Reason::IcmpErrorForwarded).times(3));
    });
}

#[test]
fn an_error_about_a_forwarded_packet_reaches_the_client() {
    bridge().at_ingress(|rig| {
        rig.when(&query()).then_is(Pass);
        rig.delta();
        let router: Endpoint<Ipv6> = (address(2, 1), 0);
        let delivered = query().ethernet(NODE_MAC, SERVER_MAC).to(RESOLVER);
        let error = |about: &Packet<_>| icmp_error(about, TOO_BIG, [0, 0, 5, 0], 90).from(router);
        let seen = error(&delivered).ethernet(SERVER_MAC, CLIENT_MAC);
        rig.when(&seen).then_untouched();
        rig.at_egress(&seen).then(Pass, &error(&query()).ethernet(SERVER_MAC, CLIENT_MAC));
        // The backend's own is the VIP's.
        let seen = icmp_error(&delivered, PORT_UNREACHABLE, [0; 4], 90).ethernet(SERVER_MAC, CLIENT_MAC);
        let expected = icmp_error(&query(), PORT_UNREACHABLE, [0; 4], 90).ethernet(SERVER_MAC, CLIENT_MAC);
        rig.at_egress(&seen).then(Pass, &expected);
        assert_delta!(rig, reason(Reason::IcmpErrorForwarded).times(2));
    });
}

#[test]
fn an_error_that_quotes_no_known_flow_is_dropped_by_name() {
    bridge().at_ingress(|rig| {
        let about = reply().ethernet(NODE_MAC, CLIENT_MAC).from(DNS);
        rig.when(&icmp_error(&about, PORT_UNREACHABLE, [0; 4], 90).ethernet(CLIENT_MAC, NODE_MAC))
            .then_dropped();
        assert_delta!(rig, reason(Reason::IcmpErrorUnknown));
    });
}
