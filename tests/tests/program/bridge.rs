//! On a VM host: forward at the ingress of the client's interface, reply at its egress.

use lb_common::net::{Ipv4, Mac};
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, replied};
use lb_tests::packet::flags;
use lb_tests::program::Verdict::Pass;
use lb_tests::program::{backend, vm_port};

use crate::scene::*;

#[test]
fn a_syn_is_rewritten_and_passed_to_the_bridge() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then(Pass, &syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        assert_delta!(rig, opened(WEB_BACKEND), forwarded(WEB_BACKEND, &syn()));
    });
}

#[test]
fn a_datagram_is_rewritten_and_passed_to_the_bridge() {
    bridge().at_ingress(|rig| {
        rig.when(&query()).then(Pass, &query().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
        assert_delta!(rig, opened(DNS_BACKEND), forwarded(DNS_BACKEND, &query()));
    });
}

#[test]
fn the_answer_is_rewritten_at_egress_and_keeps_its_macs() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.when(&query()).then_is(Pass);
        rig.delta();
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(WEB));
        assert_delta!(rig, replied(WEB_BACKEND, &syn_ack()));
        rig.at_egress(&answer()).then(Pass, &answer().from(DNS));
        assert_delta!(rig, replied(DNS_BACKEND, &answer()));
    });
}

#[test]
fn the_answer_is_left_alone_at_ingress() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.delta();
        rig.when(&syn_ack()).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn the_clients_packet_is_left_alone_at_egress() {
    bridge().at_ingress(|rig| {
        rig.at_egress(&syn()).then_untouched();
        rig.when(&syn()).then_is(Pass);
        rig.delta();
        rig.at_egress(&syn()).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn a_whole_connection_takes_one_flow() {
    bridge().at_ingress(|rig| {
        let mac = |packet: lb_tests::packet::Packet| packet.ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER);
        let request = to_web(flags::ACK | flags::PSH).payload(b"GET / HTTP/1.1");
        let response = from_web(flags::ACK | flags::PSH).payload(b"HTTP/1.1 200 OK, and an odd length");
        rig.when(&syn()).then(Pass, &mac(syn()));
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(WEB));
        rig.when(&ack()).then(Pass, &mac(ack()));
        rig.when(&request).then(Pass, &mac(request.clone()));
        rig.at_egress(&response).then(Pass, &response.clone().from(WEB));
        assert_delta!(
            rig,
            opened(WEB_BACKEND),
            forwarded(WEB_BACKEND, &syn()),
            forwarded(WEB_BACKEND, &ack()),
            forwarded(WEB_BACKEND, &request),
            replied(WEB_BACKEND, &syn_ack()),
            replied(WEB_BACKEND, &response),
        );
        assert_eq!(rig.flows().len(), 2);
    });
}

#[test]
fn a_segment_in_mid_connection_without_a_flow_is_taken_up() {
    bridge().at_ingress(|rig| {
        rig.when(&ack()).then(Pass, &ack().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        assert_delta!(rig, opened(WEB_BACKEND), forwarded(WEB_BACKEND, &ack()));
    });
}

#[test]
fn ip_options_stay() {
    const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
    bridge().at_ingress(|rig| {
        for packet in [syn(), query()] {
            let sent = packet.options(&ROUTER_ALERT);
            let to = if sent.clone().to(DNS) == sent { RESOLVER } else { SERVER };
            rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(to));
        }
        let back = syn_ack().options(&[1; 40]);
        rig.at_egress(&back).then(Pass, &back.clone().from(WEB));
    });
}

#[test]
fn ethernet_padding_tcp_options_and_the_ip_header_stay() {
    bridge().at_ingress(|rig| {
        let sent = syn()
            .tcp_options(&[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7])
            .identification(0xbeef)
            .unfragmentable()
            .ttl(3)
            .window(1234);
        rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        let short = ack().padded(6);
        rig.when(&short).then(Pass, &short.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
    });
}

#[test]
fn a_vm_that_dials_another_vm_is_served_at_its_own_port() {
    const VM: (Ipv4, u16) = (Ipv4([192, 0, 2, 33]), 50_000);
    const VM_MAC: Mac = Mac([2, 0, 0, 0, 1, 33]);
    // A VM port takes whatever names a VIP, to whichever MAC: the VM may know another node's.
    const WHOEVER: Mac = Mac([2, 0, 0, 0, 9, 9]);
    bridge().port(vm_port(NODE_MAC).in_bridge(BRIDGE)).at_ingress(|rig| {
        let sent = syn().ethernet(VM_MAC, WHOEVER).from(VM);
        rig.when(&sent).then(Pass, &sent.clone().ethernet(VM_MAC, SERVER_MAC).to(SERVER));
        let back = syn_ack().ethernet(SERVER_MAC, VM_MAC).to(VM);
        rig.at_egress(&back).then(Pass, &back.clone().from(WEB));
    });
}

#[test]
fn a_backend_behind_another_bridge_is_reached_through_the_stack() {
    let elsewhere = backend(SERVER, SERVER_MAC).in_bridge(BRIDGE + 1);
    bridge().backend(WEB_BACKEND, elsewhere).at_ingress(|rig| {
        rig.when(&syn()).then(Pass, &syn().to(SERVER));
    });
}

#[test]
fn without_a_mac_the_rewritten_packet_is_handed_to_the_stack() {
    let unknown = in_the_bridge(backend(SERVER, SERVER_MAC)).without_mac();
    bridge().backend(WEB_BACKEND, unknown).at_ingress(|rig| {
        rig.when(&syn()).then(Pass, &syn().to(SERVER));
        assert_delta!(
            rig,
            opened(WEB_BACKEND),
            forwarded(WEB_BACKEND, &syn()),
            reason(Reason::NeighbourUnknown)
        );
    });
}

#[test]
fn a_backend_that_the_stack_reaches_is_rewritten_with_its_macs_unchanged() {
    bridge().backend(WEB_BACKEND, backend(SERVER, SERVER_MAC).reply_at_egress()).at_ingress(|rig| {
        rig.when(&syn()).then(Pass, &syn().to(SERVER));
        assert_delta!(rig, opened(WEB_BACKEND), forwarded(WEB_BACKEND, &syn()));
    });
}
