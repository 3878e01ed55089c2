//! What holds for all packets. Each property is tried 20,000 times, at all hooks together; with `LB_LONG` a million
//! times, with `LB_CASES` as often as that says.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::env;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lb_common::net::{Ipv4, Mac, Protocol};
use lb_tests::packet::{ECHO_REPLY, Frame as _, Packet, packet};
use lb_tests::program::Verdict::{Back, Drop, Pass};
use lb_tests::program::{Given, Hook, Rig, backend, listener};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

mod errors;
mod express;

use crate::scene::*;

const CASES: u32 = 20_000;
const LONG: u32 = 1_000_000;

/// Runs a property against a rig of its own at each hook.
fn check<S: Strategy>(
    given: &Given,
    hooks: &[Hook],
    strategy: &S,
    property: impl Fn(&mut Rig, S::Value) -> Result<(), TestCaseError>,
) {
    check_one_of(1, given, hooks, strategy, property);
}

/// As [`check`], where one case is as much work as so many.
fn check_one_of<S: Strategy>(
    share: u32,
    given: &Given,
    hooks: &[Hook],
    strategy: &S,
    property: impl Fn(&mut Rig, S::Value) -> Result<(), TestCaseError>,
) {
    let usual = if env::var_os("LB_LONG").is_some() { LONG } else { CASES };
    let cases = env::var("LB_CASES").map_or(usual, |cases| cases.parse().expect("LB_CASES is a number"));
    let cases = cases.div_ceil(share * u32::try_from(hooks.len()).expect("a few hooks"));
    given.at_each(hooks, |rig| {
        let rig = RefCell::new(rig);
        let config =
            Config { cases, max_global_rejects: cases, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(strategy, |value| property(&mut rig.borrow_mut(), value));
        result.unwrap_or_else(|error| panic!("{error}"));
    });
}

/// Gives no port twice while the flows that have one live, so that every client keeps its own where it is hidden behind
/// the VIP.
struct Ports(Cell<u16>);

impl Ports {
    fn next(&self, rig: &mut Rig) -> u16 {
        let next = self.0.get().checked_add(1).unwrap_or_else(|| {
            rig.forget_flows();
            1
        });
        self.0.set(next);
        next
    }
}

fn mac() -> impl Strategy<Value = Mac> {
    prop_oneof![Just(NODE_MAC), Just(CLIENT_MAC), Just(SERVER_MAC), any::<[u8; 6]>().prop_map(Mac)]
}

fn address() -> impl Strategy<Value = Ipv4> {
    prop_oneof![Just(SERVER.0), Just(CLIENT.0), any::<[u8; 4]>().prop_map(Ipv4)]
}

/// A client anywhere, at an address that can be somebody's.
fn client() -> impl Strategy<Value = (Ipv4, u16)> {
    ((1_u8..=223, any::<[u8; 3]>()), any::<u16>())
        .prop_map(|((a, [b, c, d]), port)| (Ipv4([if a == 127 { 128 } else { a }, b, c, d]), port))
        .prop_filter("the VIP and the server dial nobody here", |client| {
            client.0 != VIP && client.0 != SERVER.0
        })
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    (0_usize..=10).prop_flat_map(|words| vec(any::<u8>(), words * 4))
}

prop_compose! {
    /// A sound TCP or UDP packet from a client to the VIP's listeners.
    fn sound()(
        from in client(), udp: bool, tcp_flags in 0_u8..64, numbers: (u32, u32), ip_options in options(),
        tcp_options in options(), payload in vec(any::<u8>(), 0..300), ttl: u8, identification: u16,
        padding in 0_usize..20,
    ) -> (Packet, bool) {
        let packet = packet().ethernet(CLIENT_MAC, NODE_MAC).from(from).to(if udp { DNS } else { WEB });
        let packet = packet.options(&ip_options).ttl(ttl).identification(identification.into()).payload(&payload);
        // A RST opens nothing.
        let packet = if udp {
            packet.udp()
        } else {
            packet.tcp_numbered(tcp_flags & !4, numbers.0, numbers.1).tcp_options(&tcp_options)
        };
        (packet.padded(padding), udp)
    }
}

/// Frames of which nothing is known but that they are long enough for an Ethernet header.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        4 => Just([0x08, 0x00]), 1 => Just([0x08, 0x06]), 1 => Just([0x86, 0xdd]), 1 => Just([0x81, 0x00]),
        1 => any::<[u8; 2]>(),
    ];
    let lengths = prop_oneof![3 => 0x45_u8..0x50, 1 => any::<u8>()];
    let protocol = prop_oneof![2 => Just(6_u8), 2 => Just(17_u8), 1 => Just(1_u8), 1 => any::<u8>()];
    (mac(), mac(), kind, lengths, protocol, address(), vec(any::<u8>(), 0..200)).prop_map(
        |(destination, source, kind, lengths, protocol, address, mut rest)| {
            if let [first, _, _, _, _, _, high, low, _, number, _, _, _, _, _, _, a, b, c, d, ..] =
                rest.as_mut_slice()
            {
                (*first, *number) = (lengths, protocol);
                // As often as not a whole packet, no fragment.
                if *low & 1 == 0 {
                    (*high, *low) = (0, 0);
                }
                [*a, *b, *c, *d] = address.0;
            }
            [&destination.0[..], &source.0, &kind, &rest].concat()
        },
    )
}

/// Is this frame addressed to the VIP, as far as a program may say so?
fn names_the_vip(frame: &[u8]) -> bool {
    let at = |offset: usize| frame.get(offset..offset + 4) == Some(&VIP.0);
    // The destination of IPv4, and the target of ARP.
    at(30) || at(38)
}

#[test]
fn what_is_not_ours_comes_out_as_it_came() {
    check(&bridge(), &Hook::ALL, &noise(), |rig, frame| {
        prop_assume!(!names_the_vip(&frame) && rig.hook().runs(&frame));
        rig.when(&frame).then_untouched();
        Ok(())
    });
}

#[test]
fn what_is_sound_and_not_ours_comes_out_as_it_came_however_short_it_is_cut() {
    let elsewhere = (sound(), any::<[u8; 4]>(), any::<usize>());
    check(&bridge(), &Hook::ALL, &elsewhere, |rig, ((sent, _), to, cut)| {
        let mut frame = sent.to((Ipv4(to), 80)).bytes();
        frame.truncate(14 + cut % (frame.len() - 13));
        prop_assume!(!names_the_vip(&frame) && rig.hook().runs(&frame));
        rig.when(&frame).then_untouched();
        Ok(())
    });
}

#[test]
fn what_is_not_ours_comes_out_as_it_came_at_every_length() {
    let frames = [syn().to(SERVER), query().options(&[1; 40]).to(SERVER), ack().to(SERVER).tagged(5)]
        .map(|p| p.bytes());
    bridge().at_each(&Hook::ALL, |rig| {
        for frame in &frames {
            for cut in (14..=frame.len()).map(|length| frame[..length].to_vec()) {
                if rig.hook().runs(&cut) {
                    rig.when(&cut).then_untouched();
                }
            }
        }
    });
}

#[test]
fn what_is_cut_short_is_never_rewritten() {
    let frames = [syn(), query(), query().options(&[1; 40]), syn().to((VIP, 81)), query().to((VIP, 54))];
    bridge().at_ingress(|rig| {
        for frame in frames.clone().map(|packet| packet.bytes()) {
            for cut in (14..frame.len()).map(|length| frame[..length].to_vec()) {
                if !rig.hook().runs(&cut) {
                    continue;
                }
                let outcome = rig.when(&cut);
                // Without the addresses nobody knows that it was meant for the VIP.
                if cut.len() < 34 { outcome.then_untouched() } else { outcome.then_dropped() }
            }
        }
        assert!(rig.flows().is_empty());
    });
}

#[test]
fn nothing_for_a_vip_reaches_the_host_as_it_came() {
    let to_the_vip = noise().prop_map(|mut frame| {
        frame[..6].copy_from_slice(&NODE_MAC.0);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame.resize(frame.len().max(34), 0x45);
        frame[30..34].copy_from_slice(&VIP.0);
        frame
    });
    check(&bridge(), &Hook::INGRESS, &to_the_vip, |rig, frame| {
        let outcome = rig.when(&frame);
        prop_assert!(!outcome.is(Pass) || outcome.frame[30..34] == SERVER.0.0, "passed: {outcome:02x?}");
        // An echo reply repeats what it was asked with, a wrong checksum included.
        let echoed = outcome.frame[23] == 1 && outcome.frame.get(34) == Some(&ECHO_REPLY);
        if outcome.is(Back) && !echoed {
            sums_are_right(&outcome.frame)?;
        }
        Ok(())
    });
}

/// Every checksum in the frame is right, as etherparse computes them.
fn sums_are_right(frame: &[u8]) -> Result<(), TestCaseError> {
    let read = SlicedPacket::from_ethernet(frame).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let Some(NetSlice::Ipv4(ip)) = read.net else { return Err(TestCaseError::fail("no IPv4")) };
    let header = ip.header();
    prop_assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IP");
    let (field, computed) = match &read.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            (tcp.checksum(), tcp.calc_checksum_ipv4(header.source(), header.destination()).ok())
        }
        Some(TransportSlice::Udp(udp)) => {
            (udp.checksum(), udp.to_header().calc_checksum_ipv4(&header.to_header(), udp.payload()).ok())
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            (icmp.checksum(), Some(icmp.icmp_type().calc_checksum(icmp.payload())))
        }
        _ => return Err(TestCaseError::fail("no transport")),
    };
    prop_assert_eq!(Some(field), computed, "transport");
    Ok(())
}

#[test]
fn forward_and_reply_restore_the_tuple_with_right_checksums() {
    check(&bridge().buckets(65_536), &Hook::INGRESS, &sound(), |rig, (sent, udp)| {
        let server = if udp { RESOLVER } else { SERVER };
        let seen = rig.when(&sent);
        prop_assert!(seen.is(Pass));
        prop_assert_eq!(&seen.frame, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(server).bytes());
        sums_are_right(&seen.frame)?;
        let back = sent.clone().ethernet(SERVER_MAC, CLIENT_MAC).reversed().from(server);
        let seen = rig.at_egress(&back);
        prop_assert!(seen.is(Pass));
        let expected = back.from(if udp { DNS } else { WEB });
        prop_assert_eq!(&seen.frame, &expected.bytes());
        sums_are_right(&seen.frame)
    });
}

#[test]
fn masqueraded_forward_and_reply_restore_the_tuple_with_right_checksums() {
    let ports = Ports(Cell::new(0));
    check(&stick().buckets(65_536), &Hook::INGRESS, &sound(), |rig, (sent, udp)| {
        let (server, dialled) = if udp { (RESOLVER, DNS) } else { (SERVER, WEB) };
        let client = (sent.source().0, ports.next(rig));
        let sent = sent.from(client);
        let seen = rig.when(&sent);
        prop_assert!(seen.is(Back));
        let hidden = sent.clone().ethernet(NODE_MAC, SERVER_MAC).from((VIP, client.1)).to(server);
        prop_assert_eq!(&seen.frame, &hidden.bytes());
        sums_are_right(&seen.frame)?;
        let back = sent.clone().ethernet(SERVER_MAC, NODE_MAC).from(server).to((VIP, client.1));
        let seen = rig.when(&back);
        prop_assert!(seen.is(Back));
        let expected = back.ethernet(NODE_MAC, CLIENT_MAC).from(dialled).to(client);
        prop_assert_eq!(&seen.frame, &expected.bytes());
        sums_are_right(&seen.frame)
    });
}

#[test]
fn one_tuple_always_finds_the_same_backend() {
    let web = listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(&[WEB_BACKEND, OTHER_BACKEND]);
    let given = bridge()
        .buckets(1)
        .listener(web)
        .backend(OTHER_BACKEND, in_the_bridge(backend(OTHER_SERVER, OTHER_MAC)));
    // With one bucket of four entries flows are forgotten all the time, as after the loss of the table.
    let chosen = RefCell::new(BTreeMap::new());
    check(&given, &Hook::INGRESS, &(1_u16..400), |rig, port| {
        let seen = rig.when(&ack().from((CLIENT.0, port)));
        prop_assert!(!seen.is(Drop));
        let server = seen.frame[30..34].to_vec();
        let first = chosen.borrow_mut().entry(port).or_insert_with(|| server.clone()).clone();
        prop_assert_eq!(first, server);
        Ok(())
    });
    let servers: std::collections::BTreeSet<_> = chosen.borrow().values().cloned().collect();
    assert!(chosen.borrow().is_empty() || servers.len() == 2, "all went to {servers:?}");
}
