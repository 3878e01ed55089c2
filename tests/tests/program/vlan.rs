//! VLAN tags among a frame's bytes, one or two: they stay as they are.

use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason};
use lb_tests::packet::{
    ECHO_REPLY, ECHO_REQUEST, Frame as _, Packet, arp_request, flags, packet, port_unreachable,
};
use lb_tests::program::Hook;
use lb_tests::program::Verdict::{Back, Pass};

use crate::scene::*;

/// Puts tags on: one; two, the outer one a service tag; two of the same kind; one with nothing but a priority.
const TAGGINGS: [fn(Packet) -> Packet; 4] = [
    |packet| packet.tagged(100),
    |packet| packet.tagged(100).service_tagged(7),
    |packet| packet.tagged(100).tagged(0x6007),
    |packet| packet.tagged(0xe000),
];

#[test]
fn tagged_packets_cross_the_bridge_and_come_back() {
    for tag in TAGGINGS {
        bridge().at_ingress(|rig| {
            let sent = tag(syn());
            rig.when(&sent).then(Pass, &tag(syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER)));
            let counted = forwarded(WEB_BACKEND, &sent);
            assert_delta!(rig, opened(WEB_BACKEND), counted);
            rig.at_egress(&tag(syn_ack())).then(Pass, &tag(syn_ack().from(WEB)));
            rig.when(&tag(query())).then(Pass, &tag(query().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER)));
            rig.at_egress(&tag(answer())).then(Pass, &tag(answer().from(DNS)));
        });
    }
}

#[test]
fn tagged_packets_are_sent_back_out_of_a_stick_and_so_are_their_answers() {
    for tag in TAGGINGS {
        stick().at_ingress(|rig| {
            let expected = tag(query().ethernet(NODE_MAC, SERVER_MAC).from((VIP, CLIENT.1)).to(RESOLVER));
            rig.when(&tag(query())).then(Back, &expected);
            let from_server = answer().ethernet(SERVER_MAC, NODE_MAC).to((VIP, CLIENT.1));
            let expected = tag(answer().ethernet(NODE_MAC, CLIENT_MAC).from(DNS));
            rig.when(&tag(from_server)).then(Back, &expected);
        });
    }
}

#[test]
fn an_answer_in_another_vlan_than_its_client_is_dropped_by_name() {
    stick().at_ingress(|rig| {
        rig.when(&syn().tagged(100)).then_is(Back);
        rig.delta();
        let answer = syn_ack().ethernet(SERVER_MAC, NODE_MAC).to((VIP, CLIENT.1));
        for elsewhere in [answer.clone(), answer.clone().tagged(101), answer.clone().tagged(100).tagged(1)] {
            rig.when(&elsewhere).then_dropped();
        }
        assert_delta!(rig, reason(Reason::VlanMismatch).times(3));
        rig.when(&answer.tagged(100)).then_is(Back);
    });
}

#[test]
fn neighbours_of_the_same_address_in_two_vlans_are_two() {
    stick().at_ingress(|rig| {
        let other = (CLIENT.0, CLIENT.1 + 1);
        rig.when(&syn().tagged(100)).then_is(Back);
        rig.when(&syn().from(other).tagged(101)).then_is(Back);
        let answer = |port| syn_ack().ethernet(SERVER_MAC, NODE_MAC).to((VIP, port));
        rig.when(&answer(CLIENT.1).tagged(100)).then_is(Back);
        rig.when(&answer(other.1).tagged(101)).then_is(Back);
    });
}

#[test]
fn a_router_does_not_carry_a_tag_to_another_interface() {
    router().at_ingress(|rig| {
        rig.when(&syn().tagged(100)).then_dropped();
        assert_delta!(rig, opened(WEB_BACKEND), reason(Reason::VlanMismatch));
    });
}

#[test]
fn arp_and_echo_are_answered_with_the_askers_tags() {
    bridge().at_ingress(|rig| {
        let request = arp_request((CLIENT_MAC, CLIENT.0), VIP);
        for tags in [&[0x81, 0, 0, 100][..], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 100]] {
            let tagged = |frame: Vec<u8>| [&frame[..12], tags, &frame[12..]].concat();
            rig.when(&tagged(request.bytes())).then(Back, &tagged(request.answered(NODE_MAC).bytes()));
        }
        assert_delta!(rig, reason(Reason::ArpAnswered).times(2));
        let ping = packet().ethernet(CLIENT_MAC, NODE_MAC).from((CLIENT.0, 0)).to((VIP, 0));
        let pong = ping.clone().reversed().ethernet(NODE_MAC, CLIENT_MAC).icmp(ECHO_REPLY, 0, [1; 4]);
        for tag in TAGGINGS {
            rig.when(&tag(ping.clone().icmp(ECHO_REQUEST, 0, [1; 4]))).then(Back, &tag(pong.clone()));
        }
    });
}

#[test]
fn refusals_carry_the_tags_of_what_is_refused() {
    for tag in TAGGINGS {
        bridge().at_ingress(|rig| {
            let sent = query().to((VIP, 54));
            rig.when(&tag(sent.clone())).then(Back, &tag(port_unreachable(&sent).unfragmentable()));
            let reset = packet().ethernet(NODE_MAC, CLIENT_MAC).from((VIP, 81)).to(CLIENT);
            let reset = reset.tcp_numbered(flags::RST | flags::ACK, 0, 2).window(0).unfragmentable();
            rig.when(&tag(syn().to((VIP, 81)))).then(Back, &tag(reset));
            assert_delta!(rig, reason(Reason::NoListenerUnreachable), reason(Reason::NoListenerReset));
        });
    }
}

#[test]
fn fragments_may_be_tagged() {
    for tag in TAGGINGS {
        bridge().at_ingress(|rig| {
            let sent = query().payload(&[3; 90]);
            let expected = sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER);
            for (sent, expected) in sent.fragments(48).into_iter().zip(expected.fragments(48)) {
                rig.when(&tag(sent)).then(Pass, &tag(expected));
            }
        });
    }
}

#[test]
fn more_than_two_tags_are_passed_by_name() {
    bridge().at_each(&Hook::ALL, |rig| {
        rig.when(&syn().tagged(1).tagged(2).tagged(3)).then_untouched();
        rig.when(&query().tagged(1).tagged(2).service_tagged(3).service_tagged(4)).then_untouched();
        assert_delta!(rig, reason(Reason::VlanTagged).times(2));
    });
}

#[test]
fn tagged_traffic_to_others_is_passed_uncounted() {
    let foreign = (lb_common::net::Ipv4([203, 0, 113, 81]), 80);
    for tag in TAGGINGS {
        bridge().at_each(&Hook::ALL, |rig| {
            rig.when(&tag(syn().to(foreign))).then_untouched();
            rig.when(&tag(query().to(foreign))).then_untouched();
            assert_delta!(rig);
        });
    }
    bridge().at_ingress(|rig| {
        rig.when(&syn().ethernet(CLIENT_MAC, OTHER_MAC).tagged(100)).then_untouched();
        assert_delta!(rig, reason(Reason::ForeignMac));
    });
}
