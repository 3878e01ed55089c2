//! On a router: the TTL goes down, frames go out of the other interface.

use lb_common::flow::Flow;
use lb_common::net::{Ipv4, Mac};
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, replied};
use lb_tests::program::Verdict::{Back, Pass, Redirect};
use lb_tests::program::{Rig, backend, uplink};

use crate::scene::*;

#[test]
fn a_syn_is_redirected_to_the_inner_network_with_a_hop_less() {
    router().at_ingress(|rig| {
        let expected = syn().ethernet(INNER_MAC, SERVER_MAC).to(SERVER).routed();
        rig.when(&syn()).then(Redirect, &expected);
        assert_delta!(rig, opened(WEB_BACKEND), forwarded(WEB_BACKEND, &syn()));
        let expected = query().ethernet(INNER_MAC, SERVER_MAC).to(RESOLVER).routed();
        rig.when(&query()).then(Redirect, &expected);
    });
}

#[test]
fn a_last_hop_is_left_to_the_stack_untouched() {
    for ttl in [0, 1] {
        router().at_ingress(|rig| {
            rig.when(&syn().ttl(ttl)).then_untouched();
            assert_eq!(rig.delta().of(Reason::TtlExpired), 1);
        });
    }
    router().at_ingress(|rig| {
        rig.when(&syn()).then_is(Redirect);
        rig.delta();
        rig.when(&ack().ttl(1)).then_untouched();
        assert_delta!(rig, reason(Reason::TtlExpired));
        let last = ack().ttl(2);
        rig.when(&last).then(Redirect, &last.clone().ethernet(INNER_MAC, SERVER_MAC).to(SERVER).routed());
    });
}

/// What the server sends to its gateway.
fn from_server() -> lb_tests::packet::Packet {
    syn_ack().ethernet(SERVER_MAC, NODE_MAC)
}

#[test]
fn the_answer_is_sent_on_to_the_clients_next_hop() {
    router().at_ingress(|rig| {
        rig.when(&syn()).then_is(Redirect);
        rig.delta();
        // Test runs know one interface only, so the answer enters where the client's packet did.
        let expected = from_server().ethernet(NODE_MAC, CLIENT_MAC).from(WEB).routed();
        rig.when(&from_server()).then(Back, &expected);
        assert_delta!(rig, replied(WEB_BACKEND, &from_server()));
    });
}

/// Has the client's packets come from a neighbour on the inner interface.
fn client_is_behind(rig: &mut Rig, mac: Mac) {
    let next_hop = rig.learned(mac, INNER);
    let reply = rig.flow(&web_reply_key()).expect("the reply half");
    rig.remove_flow(&web_reply_key());
    rig.put_flow(&Flow::<Ipv4> { next_hop, ..reply });
}

#[test]
fn the_answer_is_redirected_to_a_next_hop_on_another_interface() {
    router().at_ingress(|rig| {
        rig.when(&syn()).then_is(Redirect);
        client_is_behind(rig, OTHER_MAC);
        let expected = from_server().ethernet(INNER_MAC, OTHER_MAC).from(WEB).routed();
        rig.when(&from_server()).then(Redirect, &expected);
    });
}

#[test]
fn an_answer_on_its_last_hop_is_left_to_the_stack_untouched() {
    router().at_ingress(|rig| {
        rig.when(&syn()).then_is(Redirect);
        rig.delta();
        rig.when(&from_server().ttl(1)).then_untouched();
        assert_delta!(rig, reason(Reason::TtlExpired));
    });
}

#[test]
fn the_answer_is_left_alone_at_egress() {
    router().at_ingress(|rig| {
        rig.when(&syn()).then_is(Redirect);
        rig.delta();
        rig.at_egress(&syn_ack()).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn a_switched_backend_on_another_interface_keeps_the_ttl() {
    router().backend(WEB_BACKEND, backend(SERVER, SERVER_MAC).on(INNER)).at_ingress(|rig| {
        rig.when(&syn()).then(Redirect, &syn().ethernet(INNER_MAC, SERVER_MAC).to(SERVER));
    });
}

#[test]
fn without_a_mac_the_stack_resolves_and_counts_the_hop() {
    router().backend(WEB_BACKEND, behind_the_router(backend(SERVER, SERVER_MAC)).without_mac()).at_ingress(
        |rig| {
            rig.when(&syn()).then(Pass, &syn().to(SERVER));
            assert_eq!(rig.delta().of(Reason::NeighbourUnknown), 1);
        },
    );
}

#[test]
fn through_the_stack_the_answer_is_rewritten_at_egress() {
    let through_the_stack = behind_the_router(backend(SERVER, SERVER_MAC)).reply_at_egress();
    router().backend(WEB_BACKEND, through_the_stack).at_ingress(|rig| {
        // Connection tracking must see the question, or it drops the answer as invalid.
        rig.when(&syn()).then(Pass, &syn().to(SERVER));
        rig.when(&from_server()).then_untouched();
        // The stack has counted its hop already.
        rig.at_egress(&syn_ack().ttl(63)).then(Pass, &syn_ack().ttl(63).from(WEB));
    });
}

#[test]
fn a_router_that_masquerades_routes_as_well() {
    let hidden = behind_the_router(backend(SERVER, SERVER_MAC)).masquerade();
    router().backend(WEB_BACKEND, hidden).at_ingress(|rig| {
        let expected = syn().ethernet(INNER_MAC, SERVER_MAC).from((VIP, CLIENT.1)).to(SERVER).routed();
        rig.when(&syn()).then(Redirect, &expected);
        let answer = syn_ack().ethernet(SERVER_MAC, NODE_MAC).to((VIP, CLIENT.1));
        let expected = answer.clone().ethernet(NODE_MAC, CLIENT_MAC).from(WEB).to(CLIENT).routed();
        rig.when(&answer).then(Back, &expected);
    });
}

#[test]
fn an_unknown_way_out_drops_by_name() {
    router().other_port(INNER, uplink(Mac::default())).at_ingress(|rig| {
        rig.when(&syn()).then_dropped();
        assert_eq!(rig.delta().of(Reason::Inconsistent), 1);
    });
}
