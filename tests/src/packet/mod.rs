//! Packets, built byte by byte with this file's own idea of the formats, so that what the packet programs
//! make of them is compared with something that shares no code with them.

mod arp;
mod checksum;
mod difference;
mod fragment;
mod icmp;
mod network;
mod write;

use lb_common::net::{Ipv4, Ipv6, Mac};

pub use arp::{Arp, arp_request};
pub use checksum::ones_complement;
pub use difference::difference;
pub use icmp::{
    ECHO_REPLY, ECHO_REQUEST, FRAGMENTATION_NEEDED, LEAST_QUOTED, PARAMETER_PROBLEM, SOURCE_QUENCH,
    TIME_EXCEEDED, UNREACHABLE, fragmentation_needed, icmp_error, port_unreachable,
};
pub use network::{Extension, Network};

/// An address and a port.
pub type Endpoint<A = Ipv4> = (A, u16);

/// Anything that has bytes from the Ethernet header on.
pub trait Frame {
    /// They.
    fn bytes(&self) -> Vec<u8>;
}

impl Frame for Vec<u8> {
    fn bytes(&self) -> Vec<u8> {
        self.clone()
    }
}

/// TCP flags, as the byte of the header.
pub mod flags {
    /// No more data from this side.
    pub const FIN: u8 = 1;
    /// Begin.
    pub const SYN: u8 = 2;
    /// Away with it.
    pub const RST: u8 = 4;
    /// Hand it up.
    pub const PSH: u8 = 8;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
}

/// What the transport header's checksum field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// The right sum.
    Full,
    /// The folded pseudo-header, uncomplemented: the sender left the rest to its device.
    Partial,
    /// This, in host order.
    Is(u16),
}

/// What a packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP: sequence and acknowledgement numbers, flags.
    Tcp {
        /// Sequence number.
        sequence: u32,
        /// Acknowledgement number.
        acknowledgement: u32,
        /// See [`flags`].
        flags: u8,
        /// Window.
        window: u16,
    },
    /// UDP.
    Udp,
    /// ICMP: type, code, the rest of the header.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The header's last four bytes.
        rest: [u8; 4],
    },
    /// Another protocol, whose header is part of the payload.
    Other(u8),
}

/// An IPv4 or IPv6 packet in an Ethernet frame. Every method gives back the changed packet, so that what is
/// expected is written as what was sent with something changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet<A = Ipv4> {
    macs: (Mac, Mac),
    tags: Vec<[u8; 4]>,
    source: Endpoint<A>,
    destination: Endpoint<A>,
    ttl: u8,
    identification: u32,
    /// Flags and place, as IPv4 writes them.
    fragment: u16,
    is_fragment: bool,
    options: Vec<u8>,
    extensions: Vec<Extension>,
    transport: Transport,
    tcp_options: Vec<u8>,
    payload: Vec<u8>,
    checksum: Checksum,
    padding: usize,
}

/// A TCP packet over IPv4 between unspecified addresses, TTL 64, without flags or payload.
pub fn packet() -> Packet {
    blank()
}

/// As [`packet`], over IPv6.
pub fn packet_v6() -> Packet<Ipv6> {
    blank()
}

fn blank<A: Network>() -> Packet<A> {
    Packet {
        macs: (Mac::default(), Mac::default()),
        tags: Vec::new(),
        source: (A::default(), 0),
        destination: (A::default(), 0),
        ttl: 64,
        identification: 0,
        fragment: 0,
        is_fragment: false,
        options: Vec::new(),
        extensions: Vec::new(),
        transport: Transport::Tcp { sequence: 0, acknowledgement: 0, flags: 0, window: 0xffff },
        tcp_options: Vec::new(),
        payload: Vec::new(),
        checksum: Checksum::Full,
        padding: 0,
    }
}

impl<A: Network> Packet<A> {
    /// Ethernet addresses: from, to.
    #[must_use]
    pub fn ethernet(self, source: Mac, destination: Mac) -> Self {
        Self { macs: (source, destination), ..self }
    }

    /// Adds an 802.1Q tag, outside of those that are there.
    #[must_use]
    pub fn tagged(mut self, vlan: u16) -> Self {
        let [high, low] = vlan.to_be_bytes();
        self.tags.insert(0, [0x81, 0x00, high, low]);
        self
    }

    /// Adds an 802.1ad (QinQ) tag, outside of those that are there.
    #[must_use]
    pub fn service_tagged(mut self, vlan: u16) -> Self {
        let [high, low] = vlan.to_be_bytes();
        self.tags.insert(0, [0x88, 0xa8, high, low]);
        self
    }

    /// Where it comes from.
    #[must_use]
    pub fn from(self, source: Endpoint<A>) -> Self {
        Self { source, ..self }
    }

    /// Where it goes to.
    #[must_use]
    pub fn to(self, destination: Endpoint<A>) -> Self {
        Self { destination, ..self }
    }

    /// From where it went to where it came from.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }

    /// Where it comes from.
    pub fn source(&self) -> Endpoint<A> {
        self.source
    }

    /// TCP with these flags.
    #[must_use]
    pub fn tcp(self, flags: u8) -> Self {
        let transport = Transport::Tcp { sequence: 1, acknowledgement: 0, flags, window: 0xffff };
        Self { transport, ..self }
    }

    /// TCP with these flags and numbers.
    #[must_use]
    pub fn tcp_numbered(self, flags: u8, sequence: u32, acknowledgement: u32) -> Self {
        let transport = Transport::Tcp { sequence, acknowledgement, flags, window: 0xffff };
        Self { transport, ..self }
    }

    /// The TCP window.
    #[must_use]
    pub fn window(mut self, size: u16) -> Self {
        if let Transport::Tcp { window, .. } = &mut self.transport {
            *window = size;
        }
        self
    }

    /// TCP options; a multiple of four bytes.
    #[must_use]
    pub fn tcp_options(self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4) && options.len() <= 40, "no TCP options: {options:?}");
        Self { tcp_options: options.to_vec(), ..self }
    }

    /// UDP.
    #[must_use]
    pub fn udp(self) -> Self {
        Self { transport: Transport::Udp, ..self }
    }

    /// ICMP or ICMPv6.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self { transport: Transport::Icmp { kind, code, rest }, ..self }
    }

    /// Another protocol.
    #[must_use]
    pub fn protocol(self, number: u8) -> Self {
        Self { transport: Transport::Other(number), ..self }
    }

    /// What follows the transport header.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Self {
        Self { payload: payload.to_vec(), ..self }
    }

    /// The TTL or hop limit.
    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// The TTL or hop limit, one less.
    #[must_use]
    pub fn routed(self) -> Self {
        let ttl = self.ttl - 1;
        Self { ttl, ..self }
    }

    /// The transport checksum as a sender writes it that leaves it to its device.
    #[must_use]
    pub fn partial(self) -> Self {
        self.checksum(Checksum::Partial)
    }

    /// The transport checksum's field.
    #[must_use]
    pub fn checksum(self, checksum: Checksum) -> Self {
        Self { checksum, ..self }
    }

    /// Bytes after the IP packet, as Ethernet pads short frames.
    #[must_use]
    pub fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// The transport checksum's field as it stands in the frame, in host order.
    pub fn field(&self) -> u16 {
        let transport = self.transport_bytes();
        match self.transport {
            Transport::Tcp { .. } => u16::from_be_bytes([transport[16], transport[17]]),
            Transport::Udp => u16::from_be_bytes([transport[6], transport[7]]),
            Transport::Icmp { .. } => u16::from_be_bytes([transport[2], transport[3]]),
            Transport::Other(_) => 0,
        }
    }
}
