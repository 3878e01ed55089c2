//! What somebody who listens is told, and nobody else.

use lb_common::config::EVENTS_WANTED;
use lb_common::event::{CLOSED, DROPPED, Event, FlowStats, LOST_DROPS, LOST_FLOWS, OPENED};
use lb_common::net::{Ipv4, Ipv6, Protocol};
use lb_common::reason::Reason;
use lb_common::stats::Traffic;
use lb_tests::packet::{Frame, Packet, flags, packet_v6};
use lb_tests::program::Verdict::{Drop, Pass};
use lb_tests::program::{Given, INTERFACE, Rig, backend, given, listener, told_flow, uplink};

use crate::scene::*;

/// A VM host where flows are accounted for.
fn accounted() -> Given {
    bridge().port(uplink(NODE_MAC).in_bridge(BRIDGE).accounted())
}

fn listen(rig: &mut Rig, given: &Given) {
    rig.configure(lb_common::config::ConfigValue { flags: EVENTS_WANTED, ..given.config() });
}

fn kinds(events: &[Event]) -> Vec<u32> {
    events.iter().map(|event| event.kind).collect()
}

fn traffic(packets: &[Packet]) -> Traffic {
    let bytes = packets.iter().map(|packet| packet.bytes().len() as u64).sum();
    Traffic { packets: packets.len() as u64, bytes }
}

#[test]
fn an_opened_and_a_closed_flow_are_told_with_what_it_carried() {
    let given = accounted();
    given.clone().at_ingress(|rig| {
        listen(rig, &given);
        rig.when(&syn()).then_is(Pass);
        let opened = rig.events();
        assert_eq!(kinds(&opened), [OPENED]);
        let flow = told_flow::<Ipv4>(&opened[0]);
        assert_eq!((flow.key, flow.rewritten().destination), (web_key(), SERVER.0));
        let sent = [ack(), to_web(flags::ACK).payload(b"GET / HTTP/1.1"), to_web(flags::FIN | flags::ACK)];
        let answered =
            [syn_ack(), from_web(flags::ACK).payload(&[7; 900]), from_web(flags::FIN | flags::ACK)];
        for (answer, question) in answered.iter().zip(&sent) {
            assert_eq!(rig.events(), []);
            rig.at_egress(answer).then_is(Pass);
            rig.when(question).then_is(Pass);
        }
        let closed = rig.events();
        assert_eq!(kinds(&closed), [CLOSED]);
        assert_eq!(told_flow::<Ipv4>(&closed[0]).key, web_key());
        let carried = closed[0].carried;
        assert_eq!(carried.forward, traffic(&[&[syn()], &sent[..]].concat()));
        assert_eq!(carried.reply, traffic(&answered));
        assert!((1..=closed[0].time).contains(&carried.opened) && opened[0].time <= closed[0].time);
        // The last acknowledgement, of what is over.
        rig.when(&ack()).then_is(Pass);
        assert_eq!(rig.events(), []);
    });
}

#[test]
fn a_flow_of_ipv6_is_told_with_what_it_carried() {
    const fn address(network: u8, last: u8) -> Ipv6 {
        Ipv6::new([0x20, 1, 0x0d, 0xb8, 0, network, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
    }
    let (client, web, server) = ((address(1, 10), 40_000), (address(3, 80), 80), (address(2, 11), 8080));
    let given = given()
        .vip_v6(web.0)
        .listener_v6(listener(web, Protocol::Tcp).served_by(&[1]))
        .backend(1, in_the_bridge(backend(server, SERVER_MAC)))
        .port(uplink(NODE_MAC).in_bridge(BRIDGE).accounted());
    given.clone().at_ingress(|rig| {
        listen(rig, &given);
        let sent = packet_v6().ethernet(CLIENT_MAC, NODE_MAC).from(client).to(web);
        let (syn, data) = (sent.clone().tcp(flags::SYN), sent.tcp(flags::ACK).payload(b"GET /"));
        let reset = packet_v6().ethernet(SERVER_MAC, CLIENT_MAC).from(server).to(client).tcp(flags::RST);
        rig.when(&syn).then_is(Pass);
        rig.when(&data).then_is(Pass);
        rig.at_egress(&reset).then_is(Pass);
        let events = rig.events();
        assert_eq!(kinds(&events), [OPENED, CLOSED]);
        for event in &events {
            let key = told_flow::<Ipv6>(event).key;
            assert_eq!((event.family, key.source, key.destination), (6, client.0, web.0));
        }
        let [forward, reply] = [events[1].carried.forward, events[1].carried.reply];
        let lengths = [syn.bytes().len() + data.bytes().len(), reset.bytes().len()].map(|bytes| bytes as u64);
        assert_eq!((forward.packets, forward.bytes), (2, lengths[0]));
        assert_eq!((reply.packets, reply.bytes), (1, lengths[1]));
    });
}

#[test]
fn nothing_is_told_while_nobody_listens_and_nothing_counted_unless_wanted() {
    bridge().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.when(&to_web(flags::RST)).then_is(Pass);
        rig.when(&unknown()).then_is(Drop);
        assert_eq!(rig.events(), []);
        assert_eq!((rig.events_lost(LOST_FLOWS), rig.events_lost(LOST_DROPS)), (0, 0));
        assert!(!rig.filled().iter().any(|name| name.starts_with("FLOW_STATS")), "{:?}", rig.filled());
        listen(rig, &bridge());
        rig.when(&syn()).then_is(Pass);
        rig.when(&to_web(flags::RST)).then_is(Pass);
        let events = rig.events();
        assert_eq!(kinds(&events), [OPENED, CLOSED]);
        assert_eq!(events[1].carried, FlowStats::default());
    });
}

#[test]
fn flows_that_end_before_the_next_one_of_their_tuple_are_told() {
    let given = accounted();
    given.clone().at_ingress(|rig| {
        listen(rig, &given);
        rig.when(&query()).then_is(Pass);
        let tuple = key(CLIENT, DNS, Protocol::Udp);
        rig.age_flow(&tuple, 1000);
        rig.when(&query()).then_is(Pass);
        let events = rig.events();
        assert_eq!(kinds(&events), [OPENED, CLOSED, OPENED]);
        assert!(events.iter().all(|event| told_flow::<Ipv4>(event).key == tuple));
        assert_eq!(events[1].carried.forward, traffic(&[query()]));
    });
}

#[test]
fn a_connection_to_a_dead_backend_is_told_once() {
    let given = accounted();
    given.clone().at_ingress(|rig| {
        listen(rig, &given);
        rig.when(&syn()).then_is(Pass);
        rig.set_backend(
            WEB_BACKEND,
            in_the_bridge(backend(SERVER, SERVER_MAC)).of_listener(WEB_LISTENER).dead(),
        );
        for _ in 0..2 {
            // It is refused, with a RST.
            assert!(!rig.when(&ack()).is(Pass));
        }
        assert_eq!(kinds(&rig.events()), [OPENED, CLOSED]);
    });
}

/// What is balanced nowhere: GRE to a VIP.
fn unknown() -> Packet {
    to_web(flags::SYN).protocol(47)
}

#[test]
fn a_dropped_packet_is_told_with_its_reason_and_its_beginning() {
    bridge().at_ingress(|rig| {
        listen(rig, &bridge());
        let sent = unknown();
        rig.when(&sent).then_is(Drop);
        let events = rig.events();
        assert_eq!(kinds(&events), [DROPPED]);
        let (event, bytes) = (&events[0], sent.bytes());
        assert_eq!((event.reason, event.interface), (Reason::ProtocolUnknown as u32, INTERFACE));
        assert_eq!(event.length as usize, bytes.len());
        assert_eq!(event.body[..bytes.len()], bytes);
    });
}

#[test]
fn a_long_dropped_packet_is_told_by_its_beginning() {
    bridge().at_ingress(|rig| {
        listen(rig, &bridge());
        let sent = unknown().payload(&[9; 1000]);
        rig.when(&sent).then_is(Drop);
        let [event] = rig.events()[..] else { panic!("one event") };
        assert_eq!(event.length as usize, sent.bytes().len());
        assert_eq!(event.body[..], sent.bytes()[..event.body.len()]);
    });
}

#[test]
fn drops_that_are_too_many_are_counted_instead_of_told() {
    const DROPS: u64 = 2000;
    bridge().at_ingress(|rig| {
        listen(rig, &bridge());
        for _ in 0..DROPS {
            rig.when(&unknown()).then_is(Drop);
        }
        let told = rig.events().len() as u64;
        assert!((1..DROPS).contains(&told), "{told}");
        assert_eq!(rig.events_lost(LOST_DROPS), DROPS - told);
        // They take nothing from flows.
        rig.when(&syn()).then_is(Pass);
        assert_eq!(kinds(&rig.events()), [OPENED]);
        assert_eq!(rig.events_lost(LOST_FLOWS), 0);
    });
}
