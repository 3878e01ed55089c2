//! Flows that look alike where the backends are: each keeps its own translation, or is refused by name.

use lb_common::head::State;
use lb_common::net::Protocol;
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, reason, replied};
use lb_tests::packet::{Packet, flags};
use lb_tests::program::Verdict::Pass;
use lb_tests::program::{Given, Rig, backend, listener};

use crate::scene::*;

/// Another port of the VIP, in front of the same server port.
const SECOND: (lb_common::net::Ipv4, u16) = (VIP, 8000);

fn two_listeners() -> Given {
    bridge()
        .listener(listener(SECOND, Protocol::Tcp).index(2).served_by(&[OTHER_BACKEND]))
        .backend(OTHER_BACKEND, in_the_bridge(backend(SERVER, SERVER_MAC)).of_listener(2))
}

fn at_server(sent: &Packet) -> Packet {
    sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER)
}

fn close(rig: &mut Rig) {
    for sent in [syn(), ack()] {
        rig.when(&sent).then_is(Pass);
        rig.at_egress(&syn_ack()).then_is(Pass);
    }
    rig.when(&to_web(flags::FIN | flags::ACK)).then_is(Pass);
    rig.at_egress(&from_web(flags::FIN | flags::ACK)).then_is(Pass);
    rig.delta();
}

#[test]
fn late_packets_of_a_closed_connection_do_not_touch_the_one_that_took_its_port() {
    two_listeners().at_ingress(|rig| {
        close(rig);
        let (syn, second_ack) = (syn().to(SECOND), ack().to(SECOND));
        rig.when(&syn).then(Pass, &at_server(&syn));
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(SECOND));
        rig.when(&second_ack).then(Pass, &at_server(&second_ack));
        rig.delta();
        // Retransmissions of the first connection's last words, a tick later.
        for late in [to_web(flags::FIN | flags::ACK), ack(), to_web(flags::RST)] {
            rig.age_flow(&web_key(), 1);
            rig.when(&late).then(Pass, &at_server(&late));
            assert_delta!(rig, forwarded(WEB_BACKEND, &late));
            let second = rig.flow(&web_reply_key()).expect("the second connection's answers");
            assert_eq!((second.kind.state, second.source_port.get()), (State::Established, SECOND.1));
        }
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(SECOND));
        assert_delta!(rig, replied(OTHER_BACKEND, &syn_ack()));
    });
}

#[test]
fn a_port_in_time_wait_may_dial_the_vip_again() {
    bridge().at_ingress(|rig| {
        for _ in 0..5 {
            close(rig);
            assert_eq!(rig.flows().len(), 2);
        }
    });
}

#[test]
fn a_port_in_time_wait_may_dial_the_server_itself() {
    bridge().at_ingress(|rig| {
        close(rig);
        let direct = syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER);
        rig.when(&direct).then_untouched();
        assert_delta!(rig, reason(Reason::DirectConnection));
        rig.at_egress(&syn_ack()).then_untouched();
        // The closed connection's last ACK comes again, and does not take the answers back.
        rig.age_flow(&web_key(), 1);
        rig.when(&ack()).then(Pass, &at_server(&ack()));
        rig.at_egress(&from_web(flags::ACK)).then_untouched();
        assert_delta!(rig, forwarded(WEB_BACKEND, &ack()));
    });
}

#[test]
fn after_a_direct_connection_the_vip_may_be_dialled_from_the_same_port() {
    bridge().at_ingress(|rig| {
        let direct = syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER);
        rig.when(&direct).then_untouched();
        rig.at_egress(&syn_ack()).then_untouched();
        rig.when(&direct.tcp(flags::RST)).then_untouched();
        rig.when(&syn()).then(Pass, &at_server(&syn()));
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(WEB));
    });
}

#[test]
fn one_client_port_speaks_with_many_vip_ports_each_through_its_own_translation() {
    let others = [9000_u16, 9001, 9002, 9003].map(|port| (VIP, port));
    let server = |number: u16| (SERVER.0, 7000 + number);
    let mut given = bridge();
    for (number, vip) in (0_u16..).zip(others) {
        let (index, id) = (3 + u32::from(number), 10 + u32::from(number));
        let served = in_the_bridge(backend(server(number), SERVER_MAC)).of_listener(index);
        given =
            given.listener(listener(vip, Protocol::Tcp).index(index).served_by(&[id])).backend(id, served);
    }
    given.at_ingress(|rig| {
        for (number, vip) in (0_u16..).zip(others) {
            let sent = syn().to(vip);
            rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(server(number)));
        }
        for (number, vip) in (0_u16..).zip(others) {
            let back = syn_ack().from(server(number));
            rig.at_egress(&back).then(Pass, &back.clone().from(vip));
        }
    });
}
