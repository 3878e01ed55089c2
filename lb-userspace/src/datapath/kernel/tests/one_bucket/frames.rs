//! The packets of this test's flows, and the only rewrite that each may have.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use lb_common::hash;
use lb_common::maglev::slot;
use lb_common::map;
use lb_common::net::{Be16, Ipv4, Ipv6};

use crate::datapath::model::Protocol;

pub(super) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
pub(super) const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const SLOTS: u32 = 251;
pub(super) const VIP_PORT: u16 = 80;
pub(super) const SERVER_PORT: u16 = 8080;
/// Of every client: what their flows have in common, a reader can't tell them by.
pub(super) const CLIENT_PORT: u16 = 40_000;

/// An address family: IPv4's entries lie in one cache line, IPv6's in two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn vip(self) -> IpAddr {
        self.address(1, 80)
    }

    /// A backend's number is the last byte of its address and of its MAC.
    pub(super) fn server(self, backend: u32) -> IpAddr {
        self.address(2, u8::try_from(backend).unwrap())
    }

    /// The client with this number.
    pub(super) fn client(self, number: u8) -> IpAddr {
        self.address(3, number)
    }

    fn address(self, network: u8, number: u8) -> IpAddr {
        match (self, network) {
            (Self::V4, 1) => [203, 0, 113, number].into(),
            (Self::V4, 2) => [192, 0, 2, number].into(),
            (Self::V4, _) => [198, 51, 100, number].into(),
            (Self::V6, _) => [0x2001, 0xdb8, network.into(), 0, 0, 0, 0, number.into()].into(),
        }
    }

    /// The map of its flows, the words of an entry, and where among them the time of the last use is: the word and
    /// its lowest bit.
    pub(super) fn table(self) -> (&'static str, usize, (usize, u32)) {
        match self {
            Self::V4 => (map::FLOWS_V4, 4, (3, 48)),
            Self::V6 => (map::FLOWS_V6, 9, (8, 16)),
        }
    }

    /// The slot of a client's connection.
    pub(super) fn slot(self, secrets: &hash::Secrets, client: IpAddr) -> u32 {
        let ports = (Be16::new(CLIENT_PORT), Be16::new(VIP_PORT));
        let hash = match (client, self.vip()) {
            (IpAddr::V4(client), IpAddr::V4(vip)) => {
                hash::tuple(secrets, Ipv4(client.octets()), Ipv4(vip.octets()), ports, Protocol::Tcp)
            }
            (IpAddr::V6(client), IpAddr::V6(vip)) => hash::tuple(
                secrets,
                Ipv6::new(client.octets()),
                Ipv6::new(vip.octets()),
                ports,
                Protocol::Tcp,
            ),
            mixed => panic!("{mixed:?} are of two families"),
        };
        slot(hash, SLOTS)
    }
}

pub(super) fn server_mac(backend: u32) -> [u8; 6] {
    [2, 0, 0, 0, 1, u8::try_from(backend).unwrap()]
}

/// What may happen to a frame.
pub(super) struct Exchange {
    pub(super) sent: Vec<u8>,
    pub(super) rewritten: Vec<u8>,
}

/// Opens, speaks, ends and resets: TCP flags in the order of the header's bits.
const SYN: u8 = 2;
pub(super) const KINDS: [u8; 5] = [SYN, 16, 16 | 8, 1 | 16, 4];

fn tcp(macs: ([u8; 6], [u8; 6]), from: (IpAddr, u16), to: (IpAddr, u16), flags: u8) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(from.1, to.1, 1, 1000);
    (header.fin, header.syn, header.rst) = (flags & 1 != 0, flags & SYN != 0, flags & 4 != 0);
    (header.psh, header.ack) = (flags & 8 != 0, flags & 16 != 0);
    let packet = PacketBuilder::ethernet2(macs.0, macs.1);
    let packet = match (from.0, to.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => packet.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => packet.ipv6(from.octets(), to.octets(), 64),
        mixed => panic!("{mixed:?} are of two families"),
    };
    let mut frame = Vec::new();
    packet.tcp_header(header).write(&mut frame, b"which one?").unwrap();
    frame
}

/// The only rewrites that a client's packets and their answers may have.
pub(super) fn exchanges(family: Family, client: IpAddr, backend: u32) -> [Vec<Exchange>; 2] {
    let (client, vip) = ((client, CLIENT_PORT), (family.vip(), VIP_PORT));
    let (server, mac) = ((family.server(backend), SERVER_PORT), server_mac(backend));
    let forward = |flags| Exchange {
        sent: tcp((CLIENT_MAC, NODE_MAC), client, vip, flags),
        rewritten: tcp((CLIENT_MAC, mac), client, server, flags),
    };
    let reply = |flags| Exchange {
        sent: tcp((mac, CLIENT_MAC), server, client, flags),
        rewritten: tcp((mac, CLIENT_MAC), vip, client, flags),
    };
    // A server does not dial its client.
    let answers = KINDS.map(|flags| if flags == SYN { SYN | 16 } else { flags });
    [KINDS.map(forward).into(), answers.map(reply).into()]
}
