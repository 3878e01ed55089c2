//! Datagrams of which the programs think that they begin flows: those that do, and those that do not.

use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened};
use lb_tests::packet::Packet;
use lb_tests::program::Verdict::{Back, Pass};
use lb_tests::program::{Hook, uplink};

use crate::scene::*;

/// So long that the lane takes it.
fn asked() -> Packet {
    query().payload(&[0x5a; 40])
}

#[test]
fn a_datagram_follows_its_flow_though_others_begin_theirs() {
    bridge().at_ingress(|rig| {
        let served = asked().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER);
        rig.when(&asked()).then(Pass, &served);
        rig.delta();
        rig.expect_fresh(true);
        rig.when(&asked()).then(Pass, &served);
        assert_delta!(rig, forwarded(DNS_BACKEND, &asked()));
        assert!(!rig.expects_fresh(), "the next ones are looked up first");
    });
}

#[test]
fn a_flow_begins_the_same_whether_that_was_expected() {
    bridge().at_ingress(|rig| {
        for is_expected in [false, true] {
            rig.forget_flows();
            rig.expect_fresh(is_expected);
            rig.when(&asked()).then(Pass, &asked().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
            assert_delta!(rig, opened(DNS_BACKEND), forwarded(DNS_BACKEND, &asked()));
            assert_eq!(rig.flows().len(), 2);
        }
    });
}

#[test]
fn that_datagrams_begin_flows_is_learned_from_those_that_do() {
    bridge().at_ingress(|rig| {
        // Of so many, none has the chance of one in 32 once in ten million times.
        let learned = (0..512).any(|port| {
            rig.when(&asked().from((CLIENT.0, 20_000 + port))).then_is(Pass);
            rig.expects_fresh()
        });
        assert!(learned);
    });
}

#[test]
fn a_syn_that_comes_again_keeps_its_flow_and_begins_no_other() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        let flow = rig.flow(&web_key());
        rig.delta();
        rig.when(&syn()).then(Pass, &syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        assert_delta!(rig, forwarded(WEB_BACKEND, &syn()));
        assert_eq!(rig.flow(&web_key()).map(|flow| flow.backend), flow.map(|flow| flow.backend));
        assert_eq!(rig.flows().len(), 2);
    });
}

#[test]
fn who_is_known_is_looked_up_whatever_others_begin() {
    stick().at_each(&[Hook::Xdp], |rig| {
        rig.when(&asked()).then_is(Back);
        let flow = rig.flows().into_iter().find(|flow| flow.kind.reply).expect("the half of the answers");
        rig.expect_fresh(true);
        let answer = answer()
            .ethernet(SERVER_MAC, NODE_MAC)
            .payload(&[0x5a; 40])
            .to((flow.key.destination, flow.key.destination_port.get()));
        rig.when(&answer).then_is(Back);
        assert!(rig.expects_fresh(), "an answer says nothing of those who begin");
    });
}

#[test]
fn a_flow_that_is_told_of_does_not_unlearn_what_its_first_datagram_taught() {
    bridge().port(uplink(NODE_MAC).in_bridge(BRIDGE).accounted()).at_ingress(|rig| {
        rig.expect_fresh(true);
        rig.when(&asked()).then_is(Pass);
        assert_delta!(rig, opened(DNS_BACKEND), forwarded(DNS_BACKEND, &asked()));
        assert!(rig.expects_fresh());
    });
}
