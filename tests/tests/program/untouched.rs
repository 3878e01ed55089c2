//! What is not ours is passed, byte for byte.

use lb_common::net::{Ipv4, Ipv6, Protocol};
use lb_common::reason::Reason;
use lb_common::vip::{ANSWER_ARP, LEASE_PORT, LEASED};
use lb_tests::assert_delta;
use lb_tests::counters::reason;
use lb_tests::packet::{Frame as _, flags, packet_v6, port_unreachable};
use lb_tests::program::Verdict::{Back, Pass};
use lb_tests::program::{Hook, listener, uplink, vm_port};

use crate::scene::*;

const FOREIGN: (Ipv4, u16) = (Ipv4([203, 0, 113, 81]), 80);

#[test]
fn an_interface_that_is_not_ours_sees_nothing_happen() {
    let unknown = given_without_port();
    let detached = bridge().port(uplink(NODE_MAC).in_bridge(BRIDGE).detached());
    for given in [unknown, detached] {
        given.at_each(&Hook::ALL, |rig| {
            for packet in [syn(), query(), syn().tagged(7), syn().to((VIP, 81))] {
                rig.when(&packet).then_untouched();
            }
            assert_delta!(rig);
        });
    }
}

fn given_without_port() -> lb_tests::program::Given {
    bridge().port(vm_port(lb_common::net::Mac::default()).detached())
}

#[test]
fn traffic_to_others_is_passed_uncounted() {
    bridge().at_each(&Hook::ALL, |rig| {
        for packet in [syn(), ack(), query(), to_web(flags::RST), query().icmp(8, 0, [0; 4])] {
            rig.when(&packet.clone().to(FOREIGN)).then_untouched();
            rig.when(&packet.clone().to(FOREIGN).fragment(0, true)).then_untouched();
            rig.when(&packet.to(FOREIGN).fragment(5, false)).then_untouched();
        }
        rig.when(&query().to(FOREIGN).protocol(47)).then_untouched();
        rig.when(&from_web(flags::ACK)).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn a_vip_as_the_source_is_nothing_special() {
    bridge().at_each(&Hook::ALL, |rig| {
        rig.when(&syn().from(WEB).to(FOREIGN)).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn frames_to_another_nodes_mac_are_passed_by_name() {
    bridge().at_ingress(|rig| {
        let sent = syn().ethernet(CLIENT_MAC, OTHER_MAC);
        rig.when(&sent).then_untouched();
        assert_delta!(rig, reason(Reason::ForeignMac));
        // Also when there is a flow: the switch may flood what was the node's a moment ago.
        rig.when(&syn()).then_is(Pass);
        rig.delta();
        rig.when(&ack().ethernet(CLIENT_MAC, OTHER_MAC)).then_untouched();
        assert_delta!(rig, reason(Reason::ForeignMac));
    });
}

#[test]
fn tagged_frames_of_others_are_passed() {
    bridge().at_each(&Hook::ALL, |rig| {
        let others = syn().to(SERVER);
        for packet in [others.clone().tagged(100), others.tagged(100).service_tagged(7)] {
            rig.when(&packet).then_untouched();
        }
        assert_delta!(rig);
    });
}

#[test]
fn ipv6_of_others_is_passed() {
    let (from, to) = (Ipv6::new([0x20; 16]), Ipv6::new([0x21; 16]));
    bridge().at_each(&Hook::ALL, |rig| {
        for next_header in [6, 17, 58, 44, 0] {
            let sent = packet_v6().ethernet(CLIENT_MAC, NODE_MAC).from((from, 0)).to((to, 0));
            rig.when(&sent.protocol(next_header).payload(&[0; 40])).then_untouched();
        }
        assert_delta!(rig);
    });
}

#[test]
fn other_ethertypes_are_passed_uncounted() {
    bridge().at_each(&Hook::ALL, |rig| {
        for kind in [0x88cc_u16, 0x8847, 0x8863, 0x0001, 0x05dc, 0xffff] {
            let mut frame = syn().bytes();
            frame[12..14].copy_from_slice(&kind.to_be_bytes());
            rig.when(&frame).then_untouched();
        }
        assert_delta!(rig);
    });
}

#[test]
fn a_vip_that_is_gone_is_somebody_elses() {
    bridge().at_ingress(|rig| {
        rig.remove_vip(VIP);
        rig.when(&syn()).then_untouched();
        assert_delta!(rig);
    });
}

/// The answer to a renewal goes to the VIP, where no socket of the host is: the agent listens beside the stack.
#[test]
fn what_a_dhcp_server_sends_to_an_address_that_it_lent_is_passed() {
    let lent = (VIP, LEASE_PORT);
    let answer = query().to(lent).payload(b"an answer");
    let listened = || bridge().listener(listener(lent, Protocol::Udp));
    for given in [bridge(), listened()] {
        given.vip_with(VIP, ANSWER_ARP | LEASED).at_ingress(|rig| {
            rig.when(&answer).then_untouched();
            assert_delta!(rig);
            assert!(rig.flows().is_empty());
        });
    }
    bridge().at_ingress(|rig| {
        rig.when(&answer).then(Back, &port_unreachable(&answer).unfragmentable());
        assert_delta!(rig, reason(Reason::NoListenerUnreachable));
    });
}
