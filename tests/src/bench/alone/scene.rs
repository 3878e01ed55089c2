//! Who is who in these measurements, and what they send.

use lb_common::bench;
use lb_common::net::{Ipv4, Ipv6, Mac, Protocol};

use crate::packet::{Endpoint, Frame as _, Network, Packet, arp_request, flags, packet, packet_v6};
use crate::program::{Given, Verdict, backend, given, listener, uplink};

const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
const NODE_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 1, 11]);

pub(super) const VIP: Ipv4 = Ipv4([203, 0, 113, 80]);
pub(super) const WEB: Endpoint = (VIP, 80);
pub(super) const DNS: Endpoint = (VIP, 53);
pub(super) const SERVER: Endpoint = (Ipv4([192, 0, 2, 11]), 8080);
pub(super) const RESOLVER: Endpoint = (Ipv4([192, 0, 2, 11]), 5353);
/// Nobody's VIP, and none of its ports is served.
const STRANGER: Endpoint = (Ipv4([203, 0, 113, 99]), 80);

/// Whom clients of a family dial, and who answers.
struct Hosts<A> {
    web: Endpoint<A>,
    dns: Endpoint<A>,
    server: Endpoint<A>,
    resolver: Endpoint<A>,
    stranger: Endpoint<A>,
}

const V4: Hosts<Ipv4> = Hosts { web: WEB, dns: DNS, server: SERVER, resolver: RESOLVER, stranger: STRANGER };
const V6: Hosts<Ipv6> = Hosts {
    web: (v6(0x80), WEB.1),
    dns: (v6(0x80), DNS.1),
    server: (v6(0x11), SERVER.1),
    resolver: (v6(0x11), RESOLVER.1),
    stranger: (v6(0x99), STRANGER.1),
};

/// `2001:db8::XX`.
const fn v6(last: u8) -> Ipv6 {
    Ipv6::new([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

/// Clients' addresses without the two bytes that vary.
const CLIENTS: [u8; 2] = [198, 18];
const CLIENTS_V6: [u8; 14] = [0x20, 0x01, 0x0d, 0xb8, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0];

/// The interface behind which the servers are.
const INNER: u32 = 5;
const INNER_MAC: Mac = Mac([2, 0, 0, 0, 0, 5]);

/// A router with two listeners. All frames come in at the same interface, whichever they came in at for real: test
/// runs know no other.
pub(super) fn given_listeners(buckets: u32) -> Given {
    given()
        .buckets(buckets)
        .overflow(16_384)
        .port(uplink(NODE_MAC))
        .other_port(INNER, uplink(INNER_MAC))
        .vip(VIP)
        .listener(listener(WEB, Protocol::Tcp).index(0).served_by(&[1]))
        .listener(listener(DNS, Protocol::Udp).index(1).served_by(&[2]))
        .backend(1, backend(SERVER, SERVER_MAC).of_listener(0).on(INNER).routed())
        .backend(2, backend(RESOLVER, SERVER_MAC).of_listener(1).on(INNER).routed())
        .vip_v6(V6.web.0)
        .listener_v6(listener(V6.web, Protocol::Tcp).index(2).served_by(&[3]))
        .listener_v6(listener(V6.dns, Protocol::Udp).index(3).served_by(&[4]))
        .backend(3, backend(V6.server, SERVER_MAC).of_listener(2).on(INNER).routed())
        .backend(4, backend(V6.resolver, SERVER_MAC).of_listener(3).on(INNER).routed())
        .new_flows(10_000_000)
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A client dials.
    Syn,
    /// The server takes it.
    SynAck,
    /// A client sends something over its connection.
    Data,
    /// The server does.
    Answer,
    /// A client sends a datagram.
    Query,
    /// The server answers it.
    Response,
    /// To an address that is no VIP, without SYN.
    Elsewhere,
    /// The same, with SYN.
    DialElsewhere,
    /// Who has an address that is no VIP?
    Arp,
    /// A frame that is not IP: LLDP.
    Lldp,
}

/// Packets of a kind and length, of many flows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shot {
    pub(super) kind: Kind,
    /// Over IPv6.
    pub(super) is_v6: bool,
    /// A power of two.
    pub(super) flows: u32,
    /// Bytes of data.
    pub(super) payload: usize,
}

impl Shot {
    pub(super) fn mask(&self) -> u32 {
        self.flows - 1
    }

    /// As [`bench::Turn`] has them.
    pub(super) fn flags(&self) -> u32 {
        let family = if self.is_v6 { bench::V6 } else { 0 };
        family
            | match self.kind {
                Kind::Arp | Kind::Lldp => bench::FIXED,
                Kind::Syn | Kind::Data | Kind::Elsewhere | Kind::DialElsewhere => 0,
                Kind::SynAck | Kind::Answer => bench::ANSWERS,
                Kind::Query => bench::UDP,
                Kind::Response => bench::UDP | bench::ANSWERS,
            }
    }

    /// The frame of the client whose varying bytes are zero.
    pub(super) fn blank(&self) -> Vec<u8> {
        self.of((0, 0))
    }

    /// The frame of the client with these address bytes and this port.
    fn of(&self, client: (u16, u16)) -> Vec<u8> {
        match self.kind {
            Kind::Arp => {
                let mut frame = arp_request((CLIENT_MAC, client_v4(client).0), STRANGER.0).bytes();
                frame.resize(bench::HEADER, 0);
                frame
            }
            Kind::Lldp => {
                let mut frame = vec![0; bench::HEADER];
                frame[..14].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 0x10, 0x88, 0xcc]);
                frame
            }
            _ if self.is_v6 => self.packet(packet_v6(), &V6, client_v6(client)).bytes(),
            _ => self.packet(packet(), &V4, client_v4(client)).bytes(),
        }
    }

    fn packet<A: Network>(&self, blank: Packet<A>, hosts: &Hosts<A>, client: Endpoint<A>) -> Packet<A> {
        let from_client = || blank.clone().ethernet(CLIENT_MAC, NODE_MAC).from(client);
        let from_server = || blank.clone().ethernet(SERVER_MAC, NODE_MAC).to(client);
        let packet = match self.kind {
            Kind::Syn => from_client().to(hosts.web).tcp(flags::SYN),
            Kind::Data => from_client().to(hosts.web).tcp(flags::ACK),
            Kind::Elsewhere => from_client().to(hosts.stranger).tcp(flags::ACK),
            Kind::DialElsewhere => from_client().to(hosts.stranger).tcp(flags::SYN),
            Kind::Query => from_client().to(hosts.dns).udp(),
            Kind::SynAck => from_server().from(hosts.server).tcp(flags::SYN | flags::ACK),
            Kind::Answer => from_server().from(hosts.server).tcp(flags::ACK),
            Kind::Response => from_server().from(hosts.resolver).udp(),
            Kind::Arp | Kind::Lldp => unreachable!("no IP packet"),
        };
        packet.payload(&vec![0x5a; self.payload])
    }

    /// What a balancer makes of a flow's packet.
    pub(super) fn balanced(&self, number: u32) -> (Verdict, Vec<u8>) {
        let client = bench::flow(number);
        match self.kind {
            Kind::Elsewhere | Kind::DialElsewhere | Kind::Arp | Kind::Lldp => {
                (Verdict::Pass, self.of(client))
            }
            _ if self.is_v6 => self.rewritten(self.packet(packet_v6(), &V6, client_v6(client)), &V6),
            _ => self.rewritten(self.packet(packet(), &V4, client_v4(client)), &V4),
        }
    }

    fn rewritten<A: Network>(&self, packet: Packet<A>, hosts: &Hosts<A>) -> (Verdict, Vec<u8>) {
        let packet = packet.routed();
        if self.is_answer() {
            let service = if self.is_datagram() { hosts.dns } else { hosts.web };
            return (Verdict::Back, packet.ethernet(NODE_MAC, CLIENT_MAC).from(service).bytes());
        }
        let server = if self.is_datagram() { hosts.resolver } else { hosts.server };
        (Verdict::Redirect, packet.ethernet(INNER_MAC, SERVER_MAC).to(server).bytes())
    }

    /// What the yardstick makes of it.
    pub(super) fn sent_back(&self, number: u32) -> (Verdict, Vec<u8>) {
        let client = bench::flow(number);
        let packet = || self.packet(packet(), &V4, client_v4(client)).ethernet(NODE_MAC, SERVER_MAC);
        match self.kind {
            Kind::Syn | Kind::Data => (Verdict::Back, packet().to(SERVER).bytes()),
            Kind::Query => (Verdict::Back, packet().to(RESOLVER).bytes()),
            _ => (Verdict::Pass, self.of(client)),
        }
    }

    /// Itself, to where it came from.
    pub(super) fn returned(&self, number: u32) -> (Verdict, Vec<u8>) {
        (Verdict::Back, self.of(bench::flow(number)))
    }

    /// Is it one that a flow has, or begins with?
    pub(super) fn is_of_flow(&self) -> bool {
        !matches!(self.kind, Kind::Elsewhere | Kind::DialElsewhere | Kind::Arp | Kind::Lldp)
    }

    /// Is it UDP?
    pub(super) fn is_datagram(&self) -> bool {
        matches!(self.kind, Kind::Query | Kind::Response)
    }

    /// Does the server send it?
    pub(super) fn is_answer(&self) -> bool {
        matches!(self.kind, Kind::SynAck | Kind::Answer | Kind::Response)
    }
}

fn client_v4((address, port): (u16, u16)) -> Endpoint {
    let [high, low] = address.to_be_bytes();
    (Ipv4([CLIENTS[0], CLIENTS[1], high, low]), port)
}

fn client_v6((address, port): (u16, u16)) -> Endpoint<Ipv6> {
    let mut bytes = [0; 16];
    bytes[..14].copy_from_slice(&CLIENTS_V6);
    bytes[14..].copy_from_slice(&address.to_be_bytes());
    (Ipv6::new(bytes), port)
}

/// Where the yardstick sends packets.
pub(super) fn peer_backend(server: Endpoint) -> bench::PeerBackend {
    bench::PeerBackend { address: u32::from_ne_bytes(server.0.0), port: server.1.to_be(), mac: SERVER_MAC.0 }
}
