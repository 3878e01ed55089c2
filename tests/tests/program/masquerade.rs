//! On a stick: the source becomes the VIP, and answers come back to the same interface.

use lb_common::head::State;
use lb_common::net::{Be16, Ipv4, Mac, Protocol};
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, replied};
use lb_tests::packet::{Packet, packet};
use lb_tests::program::Verdict::{Back, Drop};
use lb_tests::program::{INTERFACE, backend, listener};

use crate::scene::*;

/// What the server sees: the VIP dials, from the client's port or another.
fn at_server(sent: Packet, port: u16) -> Packet {
    sent.ethernet(NODE_MAC, SERVER_MAC).from((VIP, port))
}

/// What the server answers: to the VIP, which is at the node.
fn from_server(port: u16) -> Packet {
    packet().ethernet(SERVER_MAC, NODE_MAC).from(SERVER).to((VIP, port)).tcp(0x12)
}

#[test]
fn a_client_is_hidden_behind_the_vip_and_sent_back_out() {
    stick().at_ingress(|rig| {
        rig.when(&syn()).then(Back, &at_server(syn(), CLIENT.1).to(SERVER));
        rig.when(&query()).then(Back, &at_server(query(), CLIENT.1).to(RESOLVER));
        assert_delta!(
            rig,
            opened(WEB_BACKEND),
            forwarded(WEB_BACKEND, &syn()),
            opened(DNS_BACKEND),
            forwarded(DNS_BACKEND, &query())
        );
    });
}

#[test]
fn the_answer_to_the_vip_goes_to_the_neighbour_that_the_client_came_from() {
    stick().at_ingress(|rig| {
        rig.when(&syn()).then_is(Back);
        rig.delta();
        let sent = from_server(CLIENT.1);
        let expected = sent.clone().ethernet(NODE_MAC, CLIENT_MAC).from(WEB).to(CLIENT);
        rig.when(&sent).then(Back, &expected);
        assert_delta!(rig, replied(WEB_BACKEND, &sent));
        let hop = rig.next_hop_of(CLIENT_MAC).expect("a learned next hop");
        assert_eq!(rig.next_hop(hop), (CLIENT_MAC, INTERFACE));
    });
}

#[test]
fn two_clients_with_one_port_get_two_source_ports() {
    stick().at_ingress(|rig| {
        let second = (Ipv4([198, 51, 100, 77]), CLIENT.1);
        rig.when(&syn()).then(Back, &at_server(syn(), CLIENT.1).to(SERVER));
        let sent = syn().from(second);
        let outcome = rig.when(&sent);
        let flow = rig.flow(&key(second, WEB, Protocol::Tcp)).expect("the second flow");
        let port = flow.source_port.get();
        assert!(port != CLIENT.1 && port >= 1024, "source port {port}");
        outcome.then(Back, &at_server(sent, port).to(SERVER));
        for (client, port) in [(CLIENT, CLIENT.1), (second, port)] {
            let answer = from_server(port);
            rig.when(&answer).then(Back, &answer.clone().ethernet(NODE_MAC, CLIENT_MAC).from(WEB).to(client));
        }
    });
}

#[test]
fn when_every_source_port_is_taken_the_packet_is_dropped_by_name() {
    stick().buckets(65_536).at_ingress(|rig| {
        rig.when(&syn()).then_is(Back);
        let own = rig.flow(&key(SERVER, (VIP, CLIENT.1), Protocol::Tcp)).expect("the reply half");
        let others = (1024..=u16::MAX).filter(|&port| port != CLIENT.1);
        let taken = others.map(|port| {
            let mut other = own;
            other.key.destination_port = Be16::new(port);
            other.kind.state = State::Established;
            other
        });
        // A few find their bucket full.
        assert!(rig.put_flows(taken) > 63_000);
        rig.delta();
        let clients = (100..116).map(|last| (Ipv4([198, 51, 100, last]), CLIENT.1));
        let exhausted = clients.filter(|&client| rig.when(&syn().from(client)).is(Drop)).count();
        assert_eq!(rig.delta().of(Reason::PortsExhausted), exhausted as u64);
        assert!(exhausted > 8, "only {exhausted} of 16 found no port where hardly one was free");
    });
}

#[test]
fn the_ttl_is_the_clients_unless_the_packet_is_routed() {
    stick().at_ingress(|rig| {
        let sent = syn().ttl(1);
        rig.when(&sent).then(Back, &at_server(sent, CLIENT.1).to(SERVER));
    });
}

#[test]
fn without_a_next_hop_the_answer_is_dropped_by_name() {
    stick().at_ingress(|rig| {
        rig.when(&syn()).then_is(Back);
        let reply_key = key(SERVER, (VIP, CLIENT.1), Protocol::Tcp);
        let mut flow = rig.flow(&reply_key).expect("the reply half");
        rig.remove_flow(&reply_key);
        flow.next_hop = 0;
        rig.put_flow(&flow);
        rig.delta();
        rig.when(&from_server(CLIENT.1)).then_dropped();
        assert_delta!(rig, reason(Reason::NextHopUnknown));
    });
}

#[test]
fn the_next_hop_follows_a_client_whose_mac_changes() {
    const MOVED_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x99]);
    stick().at_ingress(|rig| {
        rig.when(&syn()).then_is(Back);
        // Looked at once a tick.
        rig.age_flow(&web_key(), 1);
        let moved = ack().ethernet(MOVED_MAC, NODE_MAC);
        rig.when(&moved).then(Back, &at_server(moved.clone(), CLIENT.1).to(SERVER));
        let answer = from_server(CLIENT.1);
        rig.when(&answer).then(Back, &answer.clone().ethernet(NODE_MAC, MOVED_MAC).from(WEB).to(CLIENT));
    });
}

#[test]
fn the_next_hop_follows_a_client_whose_backend_is_heard_first() {
    const MOVED_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x99]);
    stick().at_ingress(|rig| {
        rig.when(&syn()).then_is(Back);
        rig.age_flow(&web_key(), 1);
        rig.age_flow(&key(SERVER, (VIP, CLIENT.1), Protocol::Tcp), 1);
        let answer = from_server(CLIENT.1);
        rig.when(&answer).then(Back, &answer.clone().ethernet(NODE_MAC, CLIENT_MAC).from(WEB).to(CLIENT));
        let moved = ack().ethernet(MOVED_MAC, NODE_MAC);
        rig.when(&moved).then(Back, &at_server(moved.clone(), CLIENT.1).to(SERVER));
        rig.when(&answer).then(Back, &answer.clone().ethernet(NODE_MAC, MOVED_MAC).from(WEB).to(CLIENT));
    });
}

#[test]
fn a_listener_on_two_backends_sends_one_client_to_one_of_them() {
    let other = backend(OTHER_SERVER, OTHER_MAC).on(INTERFACE).masquerade();
    let web = listener(WEB, Protocol::Tcp).served_by(&[WEB_BACKEND, OTHER_BACKEND]);
    stick().backend(OTHER_BACKEND, other).listener(web).at_ingress(|rig| {
        let first = rig.when(&syn());
        for _ in 0..8 {
            assert_eq!(rig.when(&syn()).frame, first.frame);
        }
        assert_eq!(rig.forward_flows().len(), 1);
    });
}
