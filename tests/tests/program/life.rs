//! The life of a flow.

use lb_common::backend::BackendRef;
use lb_common::flow::FlowKey;
use lb_common::head::State;
use lb_common::net::{Ipv4, Protocol};
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, replied};
use lb_tests::packet::{Packet, flags, packet};
use lb_tests::program::Verdict::{Back, Pass};
use lb_tests::program::{Given, Rig, backend, listener};

use crate::scene::*;

/// The states of both halves of the client's web connection.
fn states(rig: &mut Rig) -> (State, State) {
    let mut state = |key: &FlowKey<Ipv4>| rig.flow(key).map_or(State::Empty, |flow| flow.kind.state);
    (state(&web_key()), state(&web_reply_key()))
}

/// A handshake.
fn connect(rig: &mut Rig) {
    rig.when(&syn()).then_is(Pass);
    rig.at_egress(&syn_ack()).then_is(Pass);
    rig.when(&ack()).then_is(Pass);
    assert_eq!(states(rig), (State::Established, State::Established));
    rig.delta();
}

/// The web served by two backends.
fn two_servers() -> Given {
    let web = listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(&[WEB_BACKEND, OTHER_BACKEND]);
    bridge().listener(web).backend(OTHER_BACKEND, in_the_bridge(backend(OTHER_SERVER, OTHER_MAC)))
}

/// A SYN that [`two_servers`] send to the first one.
fn syn_to_the_first(rig: &mut Rig) -> Packet {
    (2000..2100)
        .map(|port| syn().from((CLIENT.0, port)))
        .find(|sent| {
            let seen = rig.when(sent);
            seen.is(Pass) && seen.frame == frame(&sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER))
        })
        .expect("one of 100 clients on the first of two servers")
}

fn frame(packet: &Packet) -> Vec<u8> {
    lb_tests::packet::Frame::bytes(packet)
}

fn reset_for(sent: &Packet, port: u16) -> Packet {
    assert!(frame(sent).len() > 54 - 1, "a TCP packet");
    packet()
        .ethernet(NODE_MAC, CLIENT_MAC)
        .from(WEB)
        .to((CLIENT.0, port))
        .tcp_numbered(flags::RST, 0, 0)
        .window(0)
        .unfragmentable()
}

#[test]
fn an_answer_and_a_word_after_it_establish() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        assert_eq!(states(rig), (State::Opening, State::Opening));
        rig.at_egress(&syn_ack()).then_is(Pass);
        assert_eq!(states(rig), (State::Opening, State::Replied));
        rig.when(&ack()).then_is(Pass);
        assert_eq!(states(rig), (State::Established, State::Established));
    });
}

#[test]
fn without_an_answer_nothing_is_established() {
    bridge().at_ingress(|rig| {
        for packet in [syn(), ack(), ack(), syn(), ack()] {
            rig.when(&packet).then_is(Pass);
        }
        assert_eq!(states(rig), (State::Opening, State::Opening));
    });
}

#[test]
fn a_fin_each_way_closes() {
    bridge().at_ingress(|rig| {
        connect(rig);
        rig.when(&to_web(flags::FIN | flags::ACK)).then_is(Pass);
        assert_eq!(states(rig), (State::Finished, State::Established));
        rig.at_egress(&from_web(flags::ACK)).then_is(Pass);
        assert_eq!(states(rig), (State::Finished, State::Established));
        rig.at_egress(&from_web(flags::FIN | flags::ACK)).then_is(Pass);
        assert_eq!(states(rig), (State::Closing, State::Closing));
        // The last ACK still finds its way.
        rig.when(&ack()).then(Pass, &ack().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
    });
}

#[test]
fn a_reset_either_way_closes_and_is_passed_on() {
    bridge().at_ingress(|rig| {
        connect(rig);
        let sent = to_web(flags::RST);
        rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        assert_eq!(states(rig), (State::Closing, State::Closing));
    });
    bridge().at_ingress(|rig| {
        connect(rig);
        let sent = from_web(flags::RST);
        rig.at_egress(&sent).then(Pass, &sent.clone().from(WEB));
        assert_eq!(states(rig), (State::Closing, State::Closing));
    });
}

#[test]
fn udp_is_established_by_an_answer_and_a_word_after_it() {
    bridge().at_ingress(|rig| {
        let (forward, reply) = (key(CLIENT, DNS, Protocol::Udp), key(RESOLVER, CLIENT, Protocol::Udp));
        rig.when(&query()).then_is(Pass);
        assert_eq!(rig.flow(&forward).map(|flow| flow.kind.state), Some(State::Opening));
        rig.at_egress(&answer()).then_is(Pass);
        assert_eq!(rig.flow(&reply).map(|flow| flow.kind.state), Some(State::Replied));
        rig.when(&query()).then_is(Pass);
        assert_eq!(rig.flow(&forward).map(|flow| flow.kind.state), Some(State::Established));
        assert_eq!(rig.flow(&reply).map(|flow| flow.kind.state), Some(State::Established));
    });
}

#[test]
fn a_syn_on_a_closing_flow_opens_another() {
    bridge().at_ingress(|rig| {
        connect(rig);
        rig.when(&to_web(flags::RST)).then_is(Pass);
        rig.delta();
        rig.when(&syn()).then(Pass, &syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        assert_delta!(rig, opened(WEB_BACKEND), forwarded(WEB_BACKEND, &syn()));
        assert_eq!(states(rig), (State::Opening, State::Opening));
        assert_eq!(rig.flows().len(), 2);
    });
}

#[test]
fn a_syn_on_a_live_flow_keeps_it() {
    bridge().at_ingress(|rig| {
        connect(rig);
        rig.when(&syn()).then(Pass, &syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        assert_delta!(rig, forwarded(WEB_BACKEND, &syn()));
        assert_eq!(states(rig), (State::Established, State::Established));
    });
}

#[test]
fn draining_backend_keeps_established_flows_and_takes_no_new_ones() {
    two_servers().at_ingress(|rig| {
        let first = syn_to_the_first(rig);
        rig.set_backend(WEB_BACKEND, in_the_bridge(backend(SERVER, SERVER_MAC)).draining());
        rig.delta();
        let next = first.clone().tcp(flags::ACK);
        rig.when(&next).then(Pass, &next.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
        assert_delta!(rig, forwarded(WEB_BACKEND, &next));
        for port in 3000..3032 {
            let sent = syn().from((CLIENT.0, port));
            let seen = rig.when(&sent);
            if seen.is(Pass) {
                seen.then(Pass, &sent.clone().ethernet(CLIENT_MAC, OTHER_MAC).to(OTHER_SERVER));
            }
        }
        let gained = rig.forward_flows();
        assert!(gained.iter().filter(|flow| flow.backend.id() == OTHER_BACKEND).count() > 16);
    });
}

#[test]
fn a_dead_backends_connections_are_reset() {
    for dead in [
        in_the_bridge(backend(SERVER, SERVER_MAC)).dead(),
        in_the_bridge(backend(OTHER_SERVER, OTHER_MAC)).generation(2),
    ] {
        bridge().at_ingress(|rig| {
            connect(rig);
            rig.set_backend(WEB_BACKEND, dead);
            // Whoever missed it is told again.
            for _ in 0..2 {
                rig.when(&ack()).then(Back, &reset_for(&ack(), CLIENT.1));
                assert_delta!(rig, reason(Reason::BackendDead));
                assert_eq!(states(rig).0, State::Closing);
            }
        });
    }
}

#[test]
fn a_dead_backends_clients_may_dial_again() {
    two_servers().at_ingress(|rig| {
        let first = syn_to_the_first(rig);
        rig.set_backend(WEB_BACKEND, in_the_bridge(backend(SERVER, SERVER_MAC)).dead());
        let web = listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(&[OTHER_BACKEND]);
        rig.set_listener(&web);
        rig.delta();
        rig.when(&first).then(Pass, &first.clone().ethernet(CLIENT_MAC, OTHER_MAC).to(OTHER_SERVER));
        assert_delta!(
            rig,
            reason(Reason::Reselected),
            opened(OTHER_BACKEND),
            forwarded(OTHER_BACKEND, &first)
        );
    });
}

#[test]
fn a_dead_backends_datagrams_go_elsewhere_at_once() {
    let elsewhere = in_the_bridge(backend(OTHER_SERVER, OTHER_MAC)).of_listener(DNS_LISTENER);
    bridge().backend(OTHER_BACKEND, elsewhere).at_ingress(|rig| {
        rig.when(&query()).then_is(Pass);
        let dead = in_the_bridge(backend(RESOLVER, SERVER_MAC)).of_listener(DNS_LISTENER).dead();
        rig.set_backend(DNS_BACKEND, dead);
        let dns = listener(DNS, Protocol::Udp).index(DNS_LISTENER).served_by(&[OTHER_BACKEND]);
        rig.set_listener(&dns);
        rig.delta();
        rig.when(&query()).then(Pass, &query().ethernet(CLIENT_MAC, OTHER_MAC).to(OTHER_SERVER));
        assert_delta!(
            rig,
            reason(Reason::Reselected),
            opened(OTHER_BACKEND),
            forwarded(OTHER_BACKEND, &query())
        );
    });
}

#[test]
fn a_dead_backends_answers_are_not_rewritten_any_more() {
    bridge().at_ingress(|rig| {
        connect(rig);
        rig.set_backend(WEB_BACKEND, in_the_bridge(backend(SERVER, SERVER_MAC)).dead());
        rig.at_egress(&syn_ack()).then_untouched();
    });
}

#[test]
fn an_expired_flow_is_opened_anew() {
    for (state, timeout) in [(State::Opening, 28), (State::Established, 3353), (State::Closing, 5)] {
        bridge().at_ingress(|rig| {
            rig.when(&syn()).then_is(Pass);
            for key in [web_key(), web_reply_key()] {
                rig.enter_state(&key, state);
                rig.age_flow(&key, timeout + 2);
            }
            rig.delta();
            rig.when(&ack()).then(Pass, &ack().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
            assert_delta!(rig, opened(WEB_BACKEND), forwarded(WEB_BACKEND, &ack()));
        });
    }
}

#[test]
fn a_packet_makes_a_flow_young_again() {
    bridge().at_ingress(|rig| {
        connect(rig);
        rig.age_flow(&web_key(), 100);
        rig.age_flow(&web_reply_key(), 100);
        rig.when(&ack()).then_is(Pass);
        rig.at_egress(&syn_ack()).then_is(Pass);
        let now = rig.now();
        for key in [web_key(), web_reply_key()] {
            let seen = rig.flow(&key).expect("the flow").last_seen;
            assert!(now.wrapping_sub(seen) <= 1, "seen at {seen}, now is {now}");
        }
        assert_delta!(rig, forwarded(WEB_BACKEND, &ack()), replied(WEB_BACKEND, &syn_ack()));
    });
}

/// Ticks after which a packet has both halves of its flow looked at.
const LOOKED_AT: u16 = 4;

#[test]
fn a_half_in_use_is_marked_as_used_and_the_other_one_looked_at_once_in_a_window() {
    bridge().at_ingress(|rig| {
        connect(rig);
        loop {
            rig.remove_flow(&web_reply_key());
            let tick = rig.now();
            rig.age_flow(&web_key(), 1);
            rig.when(&ack()).then_is(Pass);
            let used = rig.flow(&web_key()).expect("the client's half").last_seen;
            let is_restored = rig.flow(&web_reply_key()).is_some();
            // Unless the tick has passed meanwhile.
            if rig.now() == tick {
                assert_eq!((used, is_restored), (tick, tick % LOOKED_AT == 0));
                return;
            }
            rig.forget_flows();
            connect(rig);
        }
    });
}

#[test]
fn either_half_restores_the_other() {
    bridge().at_ingress(|rig| {
        connect(rig);
        let (forward, reply) = (rig.flow(&web_key()), rig.flow(&web_reply_key()));
        let places =
            |flow: Option<lb_common::flow::Flow<Ipv4>>| flow.map(|flow| (flow.rewritten(), flow.backend));
        rig.remove_flow(&web_reply_key());
        rig.age_flow(&web_key(), LOOKED_AT);
        rig.when(&ack()).then_is(Pass);
        assert_delta!(rig, forwarded(WEB_BACKEND, &ack()), reason(Reason::TwinRestored));
        assert_eq!(places(rig.flow(&web_reply_key())), places(reply));

        rig.remove_flow(&web_key());
        rig.age_flow(&web_reply_key(), LOOKED_AT);
        rig.at_egress(&from_web(flags::ACK)).then_is(Pass);
        assert_delta!(rig, replied(WEB_BACKEND, &ack()), reason(Reason::TwinRestored));
        assert_eq!(places(rig.flow(&web_key())), places(forward));
        assert_eq!(rig.flow(&web_key()).map(|flow| flow.backend), Some(BackendRef::new(WEB_BACKEND, 1)));
    });
}

#[test]
fn a_direct_connection_is_not_answered_in_the_vips_name() {
    bridge().at_ingress(|rig| {
        connect(rig);
        let direct = syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER);
        rig.when(&direct).then_untouched();
        assert_delta!(rig, reason(Reason::DirectConnection));
        rig.at_egress(&syn_ack()).then_untouched();
        assert_delta!(rig);
    });
}

#[test]
fn a_direct_packet_in_mid_connection_ends_nothing() {
    bridge().at_ingress(|rig| {
        connect(rig);
        rig.when(&ack().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER)).then_untouched();
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(WEB));
        assert_delta!(rig, replied(WEB_BACKEND, &syn_ack()));
    });
}
