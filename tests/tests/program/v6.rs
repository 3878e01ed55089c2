//! IPv6: flows, answers, and who has a VIP.

use lb_common::net::{Ipv6, Mac, Protocol};
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, refused, replied};
use lb_tests::packet::{Endpoint, Packet, flags, ones_complement, packet_v6};
use lb_tests::program::Verdict::{Back, Drop, Pass, Redirect};
use lb_tests::program::{Given, Hook, INTERFACE, backend, given, listener, uplink};

use crate::scene::{BRIDGE, CLIENT_MAC, INNER, INNER_MAC, NODE_MAC, SERVER_MAC, in_the_bridge};

pub const fn address(network: u8, last: u8) -> Ipv6 {
    Ipv6::new([0x20, 1, 0x0d, 0xb8, 0, network, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

pub const CLIENT: Endpoint<Ipv6> = (address(1, 10), 40_000);
pub const VIP: Ipv6 = address(3, 80);
pub const WEB: Endpoint<Ipv6> = (VIP, 80);
pub const DNS: Endpoint<Ipv6> = (VIP, 53);
pub const SERVER: Endpoint<Ipv6> = (address(2, 11), 8080);
pub const RESOLVER: Endpoint<Ipv6> = (address(2, 11), 5353);
/// All nodes of a link, and its Ethernet address.
const ALL_NODES: Ipv6 = Ipv6::new([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// The group in which the VIP's owner would listen.
const GROUP: Ipv6 = Ipv6::new([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 80]);
const GROUP_MAC: Mac = Mac([0x33, 0x33, 0xff, 0, 0, 80]);

pub fn served(placed: impl Fn(lb_tests::program::Backend) -> lb_tests::program::Backend) -> Given {
    given()
        .vip_v6(VIP)
        .listener_v6(listener(WEB, Protocol::Tcp).served_by(&[1]))
        .listener_v6(listener(DNS, Protocol::Udp).index(1).served_by(&[2]))
        .backend(1, placed(backend(SERVER, SERVER_MAC)))
        .backend(2, placed(backend(RESOLVER, SERVER_MAC).of_listener(1)))
}

pub fn bridge() -> Given {
    served(in_the_bridge).port(uplink(NODE_MAC).in_bridge(BRIDGE))
}

pub fn stick() -> Given {
    served(|backend| backend.on(INTERFACE).masquerade()).port(uplink(NODE_MAC))
}

pub fn to(destination: Endpoint<Ipv6>) -> Packet<Ipv6> {
    packet_v6().ethernet(CLIENT_MAC, NODE_MAC).from(CLIENT).to(destination)
}

pub fn syn() -> Packet<Ipv6> {
    to(WEB).tcp(flags::SYN)
}

pub fn query() -> Packet<Ipv6> {
    to(DNS).udp().payload(b"who is it?")
}

#[test]
fn a_connection_goes_to_the_backend_and_its_answer_comes_back() {
    bridge().at_ingress(|rig| {
        let sent = syn().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER);
        rig.when(&syn()).then(Pass, &sent);
        assert_delta!(rig, opened(1), forwarded(1, &sent));
        let answer = packet_v6().ethernet(SERVER_MAC, CLIENT_MAC).from(SERVER).to(CLIENT);
        let answer = answer.tcp(flags::SYN | flags::ACK);
        rig.at_egress(&answer).then(Pass, &answer.clone().from(WEB));
        assert_delta!(rig, replied(1, &answer));
        let data = to(WEB).tcp(flags::ACK).payload(b"GET /");
        rig.when(&data).then(Pass, &data.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
    });
}

#[test]
fn a_datagram_goes_to_the_backend_and_its_answer_comes_back() {
    bridge().at_ingress(|rig| {
        rig.when(&query()).then(Pass, &query().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
        let answer = packet_v6().ethernet(SERVER_MAC, CLIENT_MAC).from(RESOLVER).to(CLIENT).udp();
        let answer = answer.payload(b"It is I.");
        rig.at_egress(&answer).then(Pass, &answer.clone().from(DNS));
    });
}

#[test]
fn on_a_stick_the_vip_is_the_source_and_answers_go_back_to_the_client() {
    stick().at_ingress(|rig| {
        rig.when(&syn()).then(Back, &syn().ethernet(NODE_MAC, SERVER_MAC).from((VIP, 40_000)).to(SERVER));
        let answer = packet_v6().ethernet(SERVER_MAC, NODE_MAC).from(SERVER).to((VIP, 40_000));
        let answer = answer.tcp(flags::SYN | flags::ACK);
        rig.when(&answer).then(Back, &answer.clone().ethernet(NODE_MAC, CLIENT_MAC).from(WEB).to(CLIENT));
    });
}

#[test]
fn a_router_takes_a_hop() {
    let router = served(|backend| backend.on(INNER).routed());
    router.port(uplink(NODE_MAC)).other_port(INNER, uplink(INNER_MAC)).at_ingress(|rig| {
        let sent = syn().ethernet(INNER_MAC, SERVER_MAC).to(SERVER).routed();
        rig.when(&syn()).then(Redirect, &sent);
    });
}

#[test]
fn a_partial_checksum_changes_by_the_addresses_alone() {
    let port = uplink(NODE_MAC).in_bridge(BRIDGE).partial_checksums();
    bridge().port(port).at(Hook::Xdp, |rig| {
        for sent in [syn().partial(), query().partial()] {
            let server = if sent.field() == syn().partial().field() { SERVER } else { RESOLVER };
            let expected = sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(server).partial();
            rig.when(&sent).then(Pass, &expected);
        }
    });
}

#[test]
fn tagged_packets_keep_their_tags() {
    bridge().at_ingress(|rig| {
        let sent = syn().tagged(100);
        rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
    });
}

#[test]
fn what_nobody_serves_is_refused() {
    bridge().at_ingress(|rig| {
        let reset = packet_v6().ethernet(NODE_MAC, CLIENT_MAC).from((VIP, 81)).to(CLIENT).ttl(64);
        let reset = reset.tcp_numbered(flags::RST | flags::ACK, 0, 2).window(0);
        rig.when(&to((VIP, 81)).tcp(flags::SYN)).then(Back, &reset);
        assert_delta!(rig, reason(Reason::NoListenerReset));
        let datagram = to((VIP, 54)).udp().payload(&[7; 60]);
        rig.when(&datagram).then(Back, &unreachable(&datagram));
        assert_delta!(rig, reason(Reason::NoListenerUnreachable));
    });
}

#[test]
fn without_a_backend_it_is_refused() {
    let given = bridge().listener_v6(listener(WEB, Protocol::Tcp));
    given.at_ingress(|rig| {
        rig.when(&syn()).then_is(Back);
        assert_delta!(rig, reason(Reason::NoBackendReset), refused(0));
    });
}

/// A device completes the checksum at the place where the datagram's was: inside the quote, where it must find the
/// value that it would write.
#[test]
fn a_refusal_of_a_partial_checksum_survives_its_completion() {
    bridge().at(Hook::TcIngress, |rig| {
        let outcome = rig.when(&to((VIP, 54)).udp().payload(&[7; 60]).partial());
        outcome.then_is(Back);
        let (header, message) = outcome.frame[14..].split_at(40);
        let pseudo = [&header[8..40], &[0, 0, 0, message.len() as u8, 0, 0, 0, 58]].concat();
        assert_eq!(ones_complement(&[&pseudo, message]), 0xffff, "the message's own checksum");
        let datagram = &message[8 + 40..];
        let field = u16::from_be_bytes([datagram[6], datagram[7]]);
        assert_eq!(!ones_complement(&[datagram]), field, "the completed field");
    });
}

/// Port unreachable, which quotes the header and eight bytes.
fn unreachable(datagram: &Packet<Ipv6>) -> Packet<Ipv6> {
    let quoted = datagram.network_bytes()[..48].to_vec();
    let answer = packet_v6().ethernet(NODE_MAC, CLIENT_MAC).from((VIP, 0)).to((CLIENT.0, 0)).ttl(64);
    answer.icmp(1, 4, [0; 4]).payload(&quoted)
}

fn solicitation(from: Ipv6, to: Ipv6, mac: Mac, target: Ipv6) -> Packet<Ipv6> {
    let sent = packet_v6().ethernet(CLIENT_MAC, mac).from((from, 0)).to((to, 0)).ttl(255);
    let option = [&[1, 1][..], &CLIENT_MAC.0].concat();
    sent.icmp(135, 0, [0; 4]).payload(&[&target.bytes()[..], &option].concat())
}

fn advertisement(to: Ipv6, flags: u8) -> Packet<Ipv6> {
    let sent = packet_v6().ethernet(NODE_MAC, CLIENT_MAC).from((VIP, 0)).to((to, 0)).ttl(255);
    let option = [&[2, 1][..], &NODE_MAC.0].concat();
    sent.icmp(136, 0, [flags, 0, 0, 0]).payload(&[&VIP.bytes()[..], &option].concat())
}

#[test]
fn who_has_a_vip_is_answered() {
    bridge().at_ingress(|rig| {
        let asked = [(GROUP, GROUP_MAC), (VIP, NODE_MAC)];
        for (to, mac) in asked {
            rig.when(&solicitation(CLIENT.0, to, mac, VIP)).then(Back, &advertisement(CLIENT.0, 0x60));
            assert_delta!(rig, reason(Reason::NeighbourAnswered));
        }
    });
}

#[test]
fn a_probe_for_a_duplicate_of_a_vip_is_answered_to_all() {
    let probe =
        packet_v6().ethernet(CLIENT_MAC, GROUP_MAC).from((Ipv6::default(), 0)).to((GROUP, 0)).ttl(255);
    let probe = probe.icmp(135, 0, [0; 4]).payload(&VIP.bytes());
    bridge().at_ingress(|rig| rig.when(&probe).then(Back, &advertisement(ALL_NODES, 0x20)));
}

#[test]
fn who_has_another_address_is_none_of_ours() {
    bridge().at_each(&Hook::ALL, |rig| {
        rig.when(&solicitation(CLIENT.0, GROUP, GROUP_MAC, SERVER.0)).then_untouched();
        // One that a router has passed on (RFC 4861 section 7.1.1).
        rig.when(&solicitation(CLIENT.0, GROUP, GROUP_MAC, VIP).ttl(254)).then_untouched();
    });
    bridge().at_ingress(|rig| {
        let elsewhere = Mac([2, 0, 0, 0, 0, 99]);
        rig.when(&solicitation(CLIENT.0, VIP, elsewhere, VIP)).then_untouched();
    });
}

#[test]
fn echo_is_answered() {
    bridge().at_ingress(|rig| {
        let request = to((VIP, 0)).icmp(128, 0, [0x12, 0x34, 0, 1]).payload(b"are you there?");
        let reply = packet_v6().ethernet(NODE_MAC, CLIENT_MAC).from((VIP, 0)).to((CLIENT.0, 0)).ttl(64);
        let reply = reply.icmp(129, 0, [0x12, 0x34, 0, 1]).payload(b"are you there?");
        rig.when(&request).then(Back, &reply);
        assert_delta!(rig, reason(Reason::EchoAnswered));
    });
}

#[test]
fn no_other_protocol_reaches_the_host_through_a_vip() {
    bridge().at_ingress(|rig| {
        rig.when(&to((VIP, 0)).protocol(132).payload(&[0; 40])).then_is(Drop);
        assert_delta!(rig, reason(Reason::ProtocolUnknown));
    });
}
