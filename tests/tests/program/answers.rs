//! ARP and echo for owned VIPs.

use lb_common::net::{Ipv4, Mac};
use lb_common::reason::Reason;
use lb_common::vip::{ANSWER_ARP, ANSWER_ECHO};
use lb_tests::assert_delta;
use lb_tests::counters::reason;
use lb_tests::packet::{ECHO_REPLY, ECHO_REQUEST, Frame as _, Packet, arp_request, packet};
use lb_tests::program::Verdict::Back;
use lb_tests::program::{Given, given, uplink, vm_port};

use crate::scene::*;

const ASKER: (Mac, Ipv4) = (CLIENT_MAC, CLIENT.0);
const FOREIGN: Ipv4 = Ipv4([203, 0, 113, 81]);

fn on_an_uplink() -> Given {
    given().port(uplink(NODE_MAC)).vip(VIP)
}

#[test]
fn arp_for_a_vip_is_answered_with_the_nodes_mac() {
    for port in [uplink(NODE_MAC), vm_port(NODE_MAC)] {
        given().port(port).vip(VIP).at_ingress(|rig| {
            let request = arp_request(ASKER, VIP);
            rig.when(&request).then(Back, &request.answered(NODE_MAC));
            let confirming = request.unicast(NODE_MAC);
            rig.when(&confirming).then(Back, &request.answered(NODE_MAC));
            assert_delta!(rig, reason(Reason::ArpAnswered).times(2));
        });
    }
}

#[test]
fn arp_padded_to_the_shortest_frame_is_answered() {
    on_an_uplink().at_ingress(|rig| {
        let request = arp_request(ASKER, VIP);
        let padded = |bytes: Vec<u8>| [bytes, vec![0; 18]].concat();
        rig.when(&padded(request.bytes())).then(Back, &padded(request.answered(NODE_MAC).bytes()));
    });
}

#[test]
fn an_arp_probe_is_answered_so_that_nobody_takes_the_address() {
    on_an_uplink().at_ingress(|rig| {
        let probe = arp_request((CLIENT_MAC, Ipv4::default()), VIP);
        rig.when(&probe).then(Back, &probe.answered(NODE_MAC));
    });
}

#[test]
fn other_arp_is_let_alone() {
    on_an_uplink().at_ingress(|rig| {
        let request = arp_request(ASKER, VIP);
        rig.when(&arp_request(ASKER, FOREIGN)).then_untouched();
        rig.when(&request.answered(NODE_MAC)).then_untouched();
        rig.when(&request.unicast(OTHER_MAC)).then_untouched();
        rig.when(&arp_request((CLIENT_MAC, VIP), VIP)).then_untouched();
        rig.at_egress(&request).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn arp_is_let_alone_where_the_vip_says_so() {
    given().port(uplink(NODE_MAC)).vip_with(VIP, ANSWER_ECHO).at_ingress(|rig| {
        rig.when(&arp_request(ASKER, VIP)).then_untouched();
        assert_delta!(rig);
    });
}

fn ping(payload: &[u8]) -> Packet {
    packet()
        .ethernet(CLIENT_MAC, NODE_MAC)
        .from((CLIENT.0, 0))
        .to((VIP, 0))
        .icmp(ECHO_REQUEST, 0, [0x12, 0x34, 0, 1])
        .payload(payload)
}

fn pong(payload: &[u8]) -> Packet {
    packet()
        .ethernet(NODE_MAC, CLIENT_MAC)
        .from((VIP, 0))
        .to((CLIENT.0, 0))
        .icmp(ECHO_REPLY, 0, [0x12, 0x34, 0, 1])
        .payload(payload)
}

#[test]
fn an_echo_request_is_answered_by_the_vip() {
    on_an_uplink().at_ingress(|rig| {
        for size in [0, 1, 56, 57, 1472] {
            let payload: Vec<u8> = (0..size).map(|index| (index * 7) as u8).collect();
            rig.when(&ping(&payload)).then(Back, &pong(&payload));
        }
        assert_delta!(rig, reason(Reason::EchoAnswered).times(5));
    });
}

#[test]
fn an_echo_reply_leaves_with_a_fresh_ttl() {
    on_an_uplink().at_ingress(|rig| {
        rig.when(&ping(b"far away").ttl(3).identification(9))
            .then(Back, &pong(b"far away").identification(9));
    });
}

#[test]
fn an_echo_request_is_dropped_where_the_vip_says_so() {
    given().port(uplink(NODE_MAC)).vip_with(VIP, ANSWER_ARP).at_ingress(|rig| {
        rig.when(&ping(b"?")).then_dropped();
        assert_delta!(rig, reason(Reason::IcmpUnhandled));
    });
}

#[test]
fn other_icmp_to_a_vip_is_dropped_by_name() {
    on_an_uplink().at_ingress(|rig| {
        for (kind, code) in [(ECHO_REPLY, 0), (5, 1), (13, 0), (ECHO_REQUEST, 1)] {
            rig.when(&ping(b"a timestamp").icmp(kind, code, [0; 4])).then_dropped();
        }
        assert_delta!(rig, reason(Reason::IcmpUnhandled).times(4));
    });
}

#[test]
fn a_stranger_without_an_address_is_not_answered() {
    on_an_uplink().at_ingress(|rig| {
        for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
            rig.when(&ping(b"?").from((Ipv4(source), 0))).then_dropped();
        }
    });
}
