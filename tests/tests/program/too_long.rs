//! Packets that are longer than their way out carries: whoever sent them is told, as a bridge would not.

use lb_common::flow::Flow;
use lb_common::net::Ipv4;
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, reason};
use lb_tests::packet::{FRAGMENTATION_NEEDED, Packet, UNREACHABLE, flags, icmp_error, ones_complement};
use lb_tests::program::Verdict::{Back, Pass, Redirect};
use lb_tests::program::{Backend, Given, Hook, Rig, backend, uplink};

use crate::scene::*;

const MTU: u16 = 1400;

/// A packet from the client, this long from its IP header on.
fn long(length: u16) -> Packet {
    to_web(flags::ACK).payload(&vec![0x77; usize::from(length) - 40]).unfragmentable()
}

/// As [`long`], of UDP, which routers may cut.
fn divisible(length: u16) -> Packet {
    query().payload(&vec![0x77; usize::from(length) - 28])
}

/// What the sender of a TCP segment is told: all of its fixed header is quoted.
fn told(about: &Packet) -> Packet {
    let [high, low] = MTU.to_be_bytes();
    icmp_error(about, (UNREACHABLE, FRAGMENTATION_NEEDED), [0, 0, high, low], 20).unfragmentable()
}

/// Both backends behind a narrow way.
fn narrow(given: Given, placed: impl Fn(Backend) -> Backend) -> Given {
    let web = backend(SERVER, SERVER_MAC).of_listener(WEB_LISTENER).mtu(MTU);
    let dns = backend(RESOLVER, SERVER_MAC).of_listener(DNS_LISTENER).mtu(MTU);
    given.backend(WEB_BACKEND, placed(web)).backend(DNS_BACKEND, placed(dns))
}

fn narrow_bridge() -> Given {
    narrow(bridge(), in_the_bridge)
}

#[test]
fn the_sender_of_a_packet_too_long_for_its_way_is_told() {
    narrow_bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.delta();
        rig.when(&long(MTU + 1)).then(Back, &told(&long(MTU + 1)).ethernet(NODE_MAC, CLIENT_MAC));
        let optional = long(MTU + 1).options(&[1; 8]).tcp_options(&[1; 12]);
        rig.when(&optional).then(Back, &told(&optional).ethernet(NODE_MAC, CLIENT_MAC));
        assert_delta!(rig, reason(Reason::TooBigAnswered).times(2));
        let fits = long(MTU);
        rig.when(&fits).then(Pass, &fits.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        assert_delta!(rig, forwarded(WEB_BACKEND, &fits));
    });
}

#[test]
fn a_way_of_unknown_width_carries_everything() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        // Of tc, the kernel tests no longer packets.
        for length in [1401, 1501, 3000] {
            rig.when(&long(length)).then_is(Pass);
        }
    });
}

#[test]
fn a_giant_that_is_cut_into_packets_that_fit_is_not_too_long() {
    narrow_bridge().at(Hook::TcIngress, |rig| {
        rig.when(&syn()).then_is(Pass);
        rig.delta();
        let giant = long(3000);
        let expected = giant.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER);
        rig.at_segmented(Hook::TcIngress, &giant, u32::from(MTU) - 40).then(Pass, &expected);
        rig.delta();
        rig.at_segmented(Hook::TcIngress, &giant, u32::from(MTU) - 39).then_is(Back);
        assert_delta!(rig, reason(Reason::TooBigAnswered));
        // Options count.
        let giant = giant.tcp_options(&[1; 12]);
        rig.at_segmented(Hook::TcIngress, &giant, u32::from(MTU) - 52).then_is(Pass);
        rig.at_segmented(Hook::TcIngress, &giant, u32::from(MTU) - 51).then_is(Back);
        let giant = divisible(3000).unfragmentable();
        rig.at_segmented(Hook::TcIngress, &giant, u32::from(MTU) - 28).then_is(Pass);
        rig.at_segmented(Hook::TcIngress, &giant, u32::from(MTU) - 27).then_is(Back);
    });
}

#[test]
fn what_a_bridge_may_not_cut_is_dropped_by_name() {
    narrow_bridge().at_ingress(|rig| {
        rig.when(&query()).then_is(Pass);
        rig.delta();
        rig.when(&divisible(MTU + 1)).then_dropped();
        rig.when(&divisible(MTU + 1).fragment(0, true)).then_dropped();
        rig.when(&divisible(MTU + 9).protocol(17).fragment(7, true)).then_dropped();
        assert_delta!(rig, reason(Reason::TooBigDropped).times(3));
    });
}

#[test]
fn what_the_router_may_cut_is_left_to_its_stack() {
    narrow(router(), behind_the_router).at_ingress(|rig| {
        rig.when(&query()).then_is(Redirect);
        rig.delta();
        let sent = divisible(MTU + 1);
        rig.when(&sent).then(Pass, &sent.clone().to(RESOLVER));
        assert_delta!(rig, forwarded(DNS_BACKEND, &sent));
        let sent = sent.unfragmentable();
        let expected = icmp_error(&sent, (UNREACHABLE, FRAGMENTATION_NEEDED), [0, 0, 5, 0x78], 8);
        rig.when(&sent).then(Back, &expected.ethernet(NODE_MAC, CLIENT_MAC).unfragmentable());
    });
}

/// Has the client's packets come from a neighbour on the inner interface, which is narrow.
fn client_is_behind_a_narrow_way(rig: &mut Rig) {
    let next_hop = rig.learned(OTHER_MAC, INNER);
    let reply = rig.flow(&web_reply_key()).expect("the reply half");
    rig.remove_flow(&web_reply_key());
    rig.put_flow(&Flow::<Ipv4> { next_hop, ..reply });
}

#[test]
fn the_server_is_told_as_well() {
    router().other_port(INNER, uplink(INNER_MAC).mtu(MTU)).at_ingress(|rig| {
        rig.when(&syn()).then_is(Redirect);
        client_is_behind_a_narrow_way(rig);
        rig.delta();
        let payload = vec![0x66; usize::from(MTU) - 39];
        let answer = from_web(flags::ACK).ethernet(SERVER_MAC, NODE_MAC).payload(&payload).unfragmentable();
        rig.when(&answer).then(Back, &told(&answer));
        assert_delta!(rig, reason(Reason::TooBigAnswered));
        let fits = answer.payload(&payload[1..]);
        let expected = fits.clone().ethernet(INNER_MAC, OTHER_MAC).from(WEB).routed();
        rig.when(&fits).then(Redirect, &expected);
    });
}

#[test]
fn a_quote_survives_that_its_checksum_is_completed() {
    let port = uplink(NODE_MAC).in_bridge(BRIDGE).partial_checksums().generic();
    narrow_bridge().port(port).at(Hook::Xdp, |rig| {
        rig.when(&syn().partial()).then_is(Pass);
        let sent = long(MTU + 1).partial();
        let outcome = rig.when(&sent);
        outcome.then_is(Back);
        let message = &outcome.frame[34..];
        assert_eq!(ones_complement(&[message]), 0xffff, "the message's own checksum");
        // The sender's note is about the quoted segment's field.
        let segment = &message[8 + 20..];
        let field = u16::from_be_bytes([segment[16], segment[17]]);
        assert_eq!(!ones_complement(&[segment]), field, "the completed field");
    });
}

#[test]
fn nobody_is_told_at_an_address_that_is_nobodys() {
    narrow_bridge().at_ingress(|rig| {
        rig.when(&long(MTU + 1).from((Ipv4([0, 0, 0, 0]), 1))).then_dropped();
        assert_delta!(rig, reason(Reason::ForeignSource));
    });
}
