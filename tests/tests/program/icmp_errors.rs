//! ICMP errors about packets that were rewritten: to whom they go, and what they say there.

use lb_common::net::{Ipv4, Mac};
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::reason;
use lb_tests::packet::{
    Checksum, Endpoint, Frame as _, LEAST_QUOTED, PARAMETER_PROBLEM, Packet, SOURCE_QUENCH, TIME_EXCEEDED,
    UNREACHABLE, flags, fragmentation_needed, icmp_error, packet, port_unreachable,
};
use lb_tests::program::Verdict::{Back, Pass, Redirect};
use lb_tests::program::{Hook, Rig, vm_port};

use crate::scene::*;

/// A router between the client and the node, behind the client's neighbour.
const CLIENTS_ROUTER: Endpoint = (Ipv4([198, 51, 100, 1]), 0);
/// A router between the node and the backend.
const BACKENDS_ROUTER: Endpoint = (Ipv4([192, 0, 2, 1]), 0);

/// What the backend sees of a client's packet.
fn delivered(sent: &Packet) -> Packet {
    let to = if sent.clone().to(DNS) == *sent { RESOLVER } else { SERVER };
    sent.clone().ethernet(NODE_MAC, SERVER_MAC).to(to)
}

/// What the backend sees of it on a stick.
fn hidden(sent: &Packet) -> Packet {
    delivered(sent).from((VIP, CLIENT.1))
}

/// As the client's router, or the client's neighbour, sends it.
fn from_clients_side(error: Packet) -> Packet {
    error.ethernet(CLIENT_MAC, NODE_MAC)
}

/// As the backend, or the router before it, sends it to the client through a bridge.
fn from_backends_side(error: Packet) -> Packet {
    error.ethernet(SERVER_MAC, CLIENT_MAC)
}

/// Opens the web flow and the resolver's, and forgets what was counted.
fn open(rig: &mut Rig) {
    let _ = (rig.when(&syn()), rig.when(&query()));
    rig.delta();
}

/// An answer as the client's side sees it, with a payload to quote.
fn seen_answer() -> Packet {
    from_web(flags::ACK).payload(b"HTTP/1.1 200 OK").ethernet(NODE_MAC, CLIENT_MAC).from(WEB)
}

#[test]
fn an_error_about_an_answer_reaches_the_backend_that_sent_it() {
    bridge().at_ingress(|rig| {
        open(rig);
        for answered in [seen_answer(), answer().from(DNS)] {
            let origin = if answered.source() == WEB { SERVER } else { RESOLVER };
            for kind in [(UNREACHABLE, 1), (UNREACHABLE, 13), (TIME_EXCEEDED, 0), (PARAMETER_PROBLEM, 0)] {
                let error = |about: &Packet| icmp_error(about, kind, [0, 0, 0, 9], LEAST_QUOTED);
                let sent = from_clients_side(error(&answered)).from(CLIENTS_ROUTER);
                let expected = error(&answered.clone().from(origin)).from(CLIENTS_ROUTER);
                rig.when(&sent).then(Pass, &expected.ethernet(CLIENT_MAC, SERVER_MAC));
            }
            // The client itself complains.
            let sent = from_clients_side(port_unreachable(&answered));
            let expected = port_unreachable(&answered.clone().from(origin)).from(CLIENT);
            rig.when(&sent).then(Pass, &expected.ethernet(CLIENT_MAC, SERVER_MAC));
        }
        assert_delta!(rig, reason(Reason::IcmpErrorForwarded).times(10));
    });
}

#[test]
fn an_error_about_a_forwarded_packet_is_rewritten_at_egress() {
    bridge().at_ingress(|rig| {
        open(rig);
        for sent in [to_web(flags::ACK).payload(b"GET / HTTP/1.1"), query()] {
            // A router's error keeps the router's name.
            let error = |about: &Packet| fragmentation_needed(about, 1280).from(BACKENDS_ROUTER);
            let (seen, expected) = (error(&delivered(&sent)), error(&sent));
            let seen = from_backends_side(seen);
            // The hosts's connection tracking has to see it as it came.
            rig.when(&seen).then_untouched();
            rig.at_egress(&seen).then(Pass, &from_backends_side(expected));
            // A backend's own error is the VIP's: no backend's address leaves.
            let seen = from_backends_side(port_unreachable(&delivered(&sent)));
            rig.at_egress(&seen).then(Pass, &from_backends_side(port_unreachable(&sent)));
        }
        assert_delta!(rig, reason(Reason::IcmpErrorForwarded).times(4));
    });
}

#[test]
fn a_masqueraded_flows_errors_find_both_ends() {
    stick().at_ingress(|rig| {
        open(rig);
        for sent in [to_web(flags::ACK).payload(b"GET / HTTP/1.1"), query()] {
            let error = |about: &Packet| fragmentation_needed(about, 1400).from(BACKENDS_ROUTER);
            let seen = error(&hidden(&sent)).ethernet(OTHER_MAC, NODE_MAC);
            rig.when(&seen).then(Back, &error(&sent).ethernet(NODE_MAC, CLIENT_MAC));
            let seen = port_unreachable(&hidden(&sent));
            rig.when(&seen).then(Back, &port_unreachable(&sent).ethernet(NODE_MAC, CLIENT_MAC));
        }
        // The backend knows nobody but the VIP: the client's router speaks in its name.
        for answered in [seen_answer(), answer().from(DNS)] {
            let origin = if answered.source() == WEB { SERVER } else { RESOLVER };
            let sent = fragmentation_needed(&answered, 1400).from(CLIENTS_ROUTER);
            let before = answered.from(origin).to((VIP, CLIENT.1));
            let expected = fragmentation_needed(&before, 1400).from((VIP, 0));
            rig.when(&from_clients_side(sent)).then(Back, &expected.ethernet(NODE_MAC, SERVER_MAC));
        }
        assert_delta!(rig, reason(Reason::IcmpErrorForwarded).times(6));
    });
}

#[test]
fn a_router_sends_errors_on_with_a_hop_less() {
    router().at_ingress(|rig| {
        open(rig);
        let error = |about: &Packet| fragmentation_needed(about, 1280).from(BACKENDS_ROUTER);
        let seen = error(&delivered(&ack().ttl(63))).ethernet(OTHER_MAC, NODE_MAC);
        let expected = error(&ack().ttl(63)).ethernet(NODE_MAC, CLIENT_MAC);
        rig.when(&seen).then(Back, &expected.routed());
        let error = |about: &Packet| fragmentation_needed(about, 1280).from(CLIENTS_ROUTER);
        let sent = from_clients_side(error(&seen_answer()));
        let expected = error(&seen_answer().from(SERVER)).ethernet(INNER_MAC, SERVER_MAC);
        rig.when(&sent).then(Redirect, &expected.routed());
        assert_delta!(rig, reason(Reason::IcmpErrorForwarded).times(2));
        rig.when(&sent.ttl(1)).then_untouched();
        assert_delta!(rig, reason(Reason::TtlExpired));
    });
}

#[test]
fn the_nodes_own_error_about_a_packet_that_the_stack_took_is_rewritten_at_egress() {
    router().at_ingress(|rig| {
        open(rig);
        let error = |about: &Packet| fragmentation_needed(about, 1280).from(BACKENDS_ROUTER);
        let seen = error(&delivered(&ack())).ethernet(NODE_MAC, CLIENT_MAC);
        rig.at_egress(&seen).then(Pass, &error(&ack()).ethernet(NODE_MAC, CLIENT_MAC));
        assert_delta!(rig, reason(Reason::IcmpErrorForwarded));
        // What was rewritten once is nobody's a second time.
        rig.at_egress(&error(&ack()).ethernet(NODE_MAC, CLIENT_MAC)).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn a_vm_that_complains_is_served_at_its_own_port() {
    bridge().port(vm_port(NODE_MAC).in_bridge(BRIDGE)).at_ingress(|rig| {
        open(rig);
        let sent = port_unreachable(&answer().from(DNS)).ethernet(CLIENT_MAC, Mac([2, 0, 0, 0, 9, 9]));
        let expected = port_unreachable(&answer()).from(CLIENT).ethernet(CLIENT_MAC, SERVER_MAC);
        rig.when(&sent).then(Pass, &expected);
    });
}

#[test]
fn checksums_that_are_quoted_are_rewritten_with_the_rest() {
    bridge().at_ingress(|rig| {
        open(rig);
        let answered = seen_answer();
        // RFC 1812 has routers quote as much as fits: TCP's checksum is at offset 16.
        for quoted in 8..=35 {
            let error = |about: &Packet| icmp_error(about, (TIME_EXCEEDED, 0), [0; 4], quoted);
            let sent = from_clients_side(error(&answered)).from(CLIENTS_ROUTER);
            let expected = error(&answered.clone().from(SERVER)).from(CLIENTS_ROUTER);
            let expected = expected.ethernet(CLIENT_MAC, SERVER_MAC);
            if quoted == 17 {
                // Half a checksum is left as it is.
                let outcome = rig.when(&sent);
                outcome.then_is(Pass);
                let cut = expected.bytes().len() - 1;
                assert_eq!(outcome.frame[26..36], expected.bytes()[26..36]);
                assert_eq!(outcome.frame[38..cut], expected.bytes()[38..cut]);
            } else {
                rig.when(&sent).then(Pass, &expected);
            }
        }
        // A datagram without a checksum has none afterwards.
        let unsummed = answer().from(DNS).checksum(Checksum::Is(0));
        let sent = from_clients_side(port_unreachable(&unsummed));
        let expected = port_unreachable(&unsummed.from(RESOLVER)).from(CLIENT);
        rig.when(&sent).then(Pass, &expected.ethernet(CLIENT_MAC, SERVER_MAC));
    });
}

#[test]
fn quoted_and_own_ip_options_stay() {
    bridge().at_ingress(|rig| {
        open(rig);
        for options in [4, 40] {
            let answered = seen_answer().options(&vec![1; options]);
            let error = |about: &Packet| icmp_error(about, (UNREACHABLE, 1), [0; 4], 28).options(&[1; 40]);
            let sent = from_clients_side(error(&answered)).from(CLIENTS_ROUTER);
            let expected = error(&answered.from(SERVER)).from(CLIENTS_ROUTER);
            rig.when(&sent).then(Pass, &expected.ethernet(CLIENT_MAC, SERVER_MAC));
        }
    });
}

#[test]
fn a_first_fragment_that_is_quoted_has_ports_and_a_later_one_has_none() {
    bridge().at_ingress(|rig| {
        open(rig);
        let sent = port_unreachable(&answer().from(DNS).fragment(0, true));
        let expected = port_unreachable(&answer().fragment(0, true)).from(CLIENT);
        rig.when(&from_clients_side(sent)).then(Pass, &expected.ethernet(CLIENT_MAC, SERVER_MAC));
        rig.delta();
        let later = from_clients_side(port_unreachable(&answer().from(DNS).fragment(1, true)));
        rig.when(&later).then_dropped();
        assert_delta!(rig, reason(Reason::IcmpErrorUnknown));
    });
}

#[test]
fn an_error_that_quotes_no_known_flow_is_dropped_by_name() {
    bridge().at_ingress(|rig| {
        open(rig);
        let others = [
            // Another port, protocol, client or direction.
            seen_answer().from((VIP, 81)),
            seen_answer().udp(),
            seen_answer().to((CLIENT.0, 40_001)),
            // An echo reply of ours, an error of ours, another protocol.
            packet().from((VIP, 0)).to((CLIENT.0, 0)).icmp(0, 0, [0; 4]),
            port_unreachable(&query()),
            seen_answer().protocol(132).payload(&[0; 16]),
        ];
        for about in &others {
            let sent = from_clients_side(icmp_error(about, (UNREACHABLE, 1), [0; 4], 8)).to((VIP, 0));
            rig.when(&sent).then_dropped();
        }
        assert_delta!(rig, reason(Reason::IcmpErrorUnknown).times(6));
        // It is not about a packet that its receiver has sent.
        let sent = from_clients_side(port_unreachable(&from_web(flags::ACK))).to((VIP, 0));
        rig.when(&sent).then_dropped();
        assert_delta!(rig, reason(Reason::IcmpErrorUnknown));
    });
}

#[test]
fn source_quench_and_redirects_are_not_heeded() {
    bridge().at_ingress(|rig| {
        open(rig);
        for kind in [SOURCE_QUENCH, 5] {
            rig.when(&from_clients_side(icmp_error(&seen_answer(), (kind, 0), [0; 4], 8))).then_dropped();
        }
        assert_delta!(rig, reason(Reason::IcmpUnhandled).times(2));
    });
}

#[test]
fn an_error_about_somebody_elses_packet_is_let_alone() {
    bridge().at_each(&Hook::ALL, |rig| {
        let _ = rig.at(Hook::TcIngress, &syn());
        rig.delta();
        let direct = to_web(flags::ACK).to(OTHER_SERVER);
        for kind in [UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM] {
            let error = icmp_error(&direct, (kind, 0), [0; 4], 20).ethernet(OTHER_MAC, NODE_MAC);
            rig.when(&error).then_untouched();
        }
        assert_delta!(rig);
    });
}

#[test]
fn an_error_to_another_nodes_mac_is_passed() {
    bridge().at_ingress(|rig| {
        open(rig);
        rig.when(&port_unreachable(&seen_answer()).ethernet(CLIENT_MAC, OTHER_MAC)).then_untouched();
        assert_delta!(rig, reason(Reason::ForeignMac));
    });
}

#[test]
fn an_error_neither_keeps_nor_ends_a_flow() {
    bridge().at_ingress(|rig| {
        open(rig);
        rig.age_flow(&web_key(), 7);
        let before = (rig.flow(&web_key()), rig.flow(&web_reply_key()));
        rig.when(&from_clients_side(port_unreachable(&seen_answer()))).then_is(Pass);
        rig.at_egress(&from_backends_side(port_unreachable(&delivered(&ack())))).then_is(Pass);
        assert_eq!((rig.flow(&web_key()), rig.flow(&web_reply_key())), before);
        assert_eq!(rig.delta().of(Reason::IcmpErrorForwarded), 2);
        // An expired one takes none.
        rig.age_flow(&web_key(), 4000);
        rig.when(&from_clients_side(port_unreachable(&seen_answer()))).then_dropped();
        assert_delta!(rig, reason(Reason::IcmpErrorUnknown));
    });
}

#[test]
fn an_error_cut_short_anywhere_is_never_rewritten() {
    bridge().at_ingress(|rig| {
        open(rig);
        let sent = from_clients_side(icmp_error(&seen_answer(), (UNREACHABLE, 4), [0; 4], 28)).bytes();
        for cut in (34..sent.len()).map(|length| sent[..length].to_vec()) {
            rig.when(&cut).then_dropped();
        }
        assert_eq!(rig.delta().of(Reason::Malformed), sent.len() as u64 - 34);
        // The packet is whole, and says itself that it ends early.
        for quoted in 0..8 {
            let sent = from_clients_side(icmp_error(&seen_answer(), (UNREACHABLE, 4), [0; 4], quoted));
            rig.when(&sent).then_dropped();
            rig.when(&sent.padded(40)).then_dropped();
        }
        for header in 0..20 {
            let quote = seen_answer().network_bytes()[..header].to_vec();
            let sent = from_clients_side(icmp_error(&seen_answer(), (UNREACHABLE, 4), [0; 4], 0));
            rig.when(&sent.payload(&quote)).then_dropped();
        }
        assert_delta!(rig, reason(Reason::IcmpErrorUnknown).times(36));
    });
}
