//! How connections end, and what only looks like an end.

use lb_common::config::ConfigValue;
use lb_common::head::State;
use lb_common::net::Protocol;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, replied};
use lb_tests::packet::{Packet, flags};
use lb_tests::program::Verdict::Pass;
use lb_tests::program::{Given, Rig, backend, given, listener};

use crate::scene::*;

fn states(rig: &mut Rig) -> (State, State) {
    let mut state = |key| rig.flow(key).map_or(State::Empty, |flow| flow.kind.state);
    (state(&web_key()), state(&web_reply_key()))
}

fn connect(rig: &mut Rig) {
    rig.when(&syn()).then_is(Pass);
    rig.at_egress(&syn_ack()).then_is(Pass);
    rig.when(&ack()).then_is(Pass);
    rig.delta();
}

fn age(rig: &mut Rig, ticks: u16) {
    rig.age_flow(&web_key(), ticks);
    rig.age_flow(&web_reply_key(), ticks);
}

fn at_server(sent: &Packet) -> Packet {
    sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER)
}

/// From either side.
fn forged() -> [Packet; 2] {
    [to_web(flags::RST), from_web(flags::RST)]
}

/// A reset as somebody else forges it: the server or the client, who knows its window, pays no attention.
fn reset(rig: &mut Rig, index: usize) {
    let sent = &forged()[index];
    if index == 0 {
        rig.when(sent).then_is(Pass)
    } else {
        rig.at_egress(sent).then_is(Pass)
    }
    assert_eq!(states(rig), (State::Closing, State::Closing));
}

#[test]
fn a_forged_reset_stops_nothing_that_still_speaks() {
    for index in 0..2 {
        bridge().at_ingress(|rig| {
            connect(rig);
            reset(rig, index);
            rig.delta();
            // Five ticks end a closing flow: this connection speaks every four, for a long time.
            for _ in 0..20 {
                age(rig, 4);
                rig.when(&ack()).then(Pass, &at_server(&ack()));
                age(rig, 4);
                rig.at_egress(&from_web(flags::ACK)).then(Pass, &from_web(flags::ACK).from(WEB));
            }
            let (sent, answered) = (ack(), from_web(flags::ACK));
            assert_delta!(
                rig,
                forwarded(WEB_BACKEND, &sent).times(20),
                replied(WEB_BACKEND, &answered).times(20)
            );
        });
    }
}

#[test]
fn after_a_forged_reset_an_idle_connection_finds_its_server_again() {
    let web = listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(&[WEB_BACKEND, OTHER_BACKEND]);
    let two: Given =
        bridge().listener(web).backend(OTHER_BACKEND, in_the_bridge(backend(OTHER_SERVER, OTHER_MAC)));
    two.at_ingress(|rig| {
        let mut servers = std::collections::BTreeSet::new();
        for port in 5000..5032 {
            let client = (CLIENT.0, port);
            let (syn, ack) = (syn().from(client), ack().from(client));
            let first = rig.when(&syn);
            first.then_is(Pass);
            let server = first.frame[30..34].to_vec();
            rig.when(&ack.clone().tcp(flags::RST)).then_is(Pass);
            rig.age_flow(&key(client, WEB, Protocol::Tcp), 100);
            let again = rig.when(&ack);
            again.then_is(Pass);
            assert_eq!(again.frame[30..34], server);
            servers.insert(server);
        }
        assert_eq!(servers.len(), 2);
    });
}

#[test]
fn a_picked_up_connection_is_established_by_its_next_exchange() {
    bridge().at_ingress(|rig| {
        connect(rig);
        reset(rig, 0);
        age(rig, 100);
        rig.when(&ack()).then(Pass, &at_server(&ack()));
        assert_eq!(states(rig), (State::Opening, State::Opening));
        rig.at_egress(&from_web(flags::ACK)).then(Pass, &from_web(flags::ACK).from(WEB));
        rig.when(&ack()).then_is(Pass);
        assert_eq!(states(rig), (State::Established, State::Established));
    });
}

#[test]
fn a_challenge_ack_ends_nothing() {
    bridge().at_ingress(|rig| {
        connect(rig);
        // A SYN inside an established connection, and the bare ACK with which RFC 5961 answers it.
        rig.when(&syn()).then(Pass, &at_server(&syn()));
        rig.at_egress(&from_web(flags::ACK)).then(Pass, &from_web(flags::ACK).from(WEB));
        assert_eq!(states(rig), (State::Established, State::Established));
    });
}

#[test]
fn one_fin_leaves_the_other_direction_open_for_as_long_as_it_likes() {
    bridge().at_ingress(|rig| {
        connect(rig);
        rig.when(&to_web(flags::FIN | flags::ACK)).then_is(Pass);
        age(rig, 3000);
        rig.at_egress(&from_web(flags::ACK)).then(Pass, &from_web(flags::ACK).from(WEB));
        assert_eq!(states(rig), (State::Finished, State::Established));
    });
}

#[test]
fn a_late_ack_does_not_reopen_what_two_fins_closed() {
    bridge().at_ingress(|rig| {
        connect(rig);
        rig.when(&to_web(flags::FIN | flags::ACK)).then_is(Pass);
        rig.at_egress(&from_web(flags::FIN | flags::ACK)).then_is(Pass);
        for _ in 0..3 {
            rig.when(&ack()).then(Pass, &at_server(&ack()));
            rig.at_egress(&from_web(flags::ACK)).then_is(Pass);
        }
        assert_eq!(states(rig), (State::Closing, State::Closing));
    });
}

#[test]
fn time_outs_are_those_of_the_configuration() {
    let configured = ConfigValue { tcp_opening: 100, tcp_established: 20, tcp_closing: 50, ..given_config() };
    for (state, timeout) in [(State::Opening, 100), (State::Established, 20), (State::Closing, 50)] {
        bridge().at_ingress(|rig| {
            rig.configure(configured);
            rig.when(&syn()).then_is(Pass);
            for (age, new_flows) in [(timeout - 1, 0), (timeout + 40, 1)] {
                for key in [web_key(), web_reply_key()] {
                    rig.enter_state(&key, state);
                    rig.age_flow(&key, age);
                }
                rig.delta();
                rig.when(&ack()).then(Pass, &at_server(&ack()));
                let delta = rig.delta();
                assert_eq!(delta.of_flows(), new_flows, "{state:?} after {age} ticks");
            }
        });
    }
}

#[test]
fn an_unanswered_datagram_is_forgotten_sooner_than_a_stream() {
    for (answered, timeout) in [(false, 14), (true, 84)] {
        bridge().at_ingress(|rig| {
            rig.when(&query()).then_is(Pass);
            if answered {
                rig.at_egress(&answer()).then_is(Pass);
                rig.when(&query()).then_is(Pass);
            }
            for (age, new_flows) in [(timeout - 1, 0), (timeout + 40, 1)] {
                for key in [key(CLIENT, DNS, Protocol::Udp), key(RESOLVER, CLIENT, Protocol::Udp)] {
                    rig.age_flow(&key, age);
                }
                rig.delta();
                rig.when(&query()).then_is(Pass);
                assert_eq!(rig.delta().of_flows(), new_flows, "answered: {answered}, {age} ticks");
            }
        });
    }
}

/// The configuration of all rigs, of which its secrets must stay.
fn given_config() -> ConfigValue {
    given().config()
}
