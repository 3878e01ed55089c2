//! From bytes to a segment.

use lb_common::flow::FlowKey;
use lb_common::net::{Address, Be16, Ipv4, Protocol};
use lb_common::reason::Reason;
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use crate::family::Family;
use crate::flow::life::Event;
use crate::packet::Packet;

/// Which part of a fragmented packet this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// All of it.
    None,
    /// Its beginning, with the ports.
    First,
    /// A part without ports.
    Later,
}

/// An IP header. Aligned for the stack, as [`FlowKey`].
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip<A> {
    /// From.
    pub source: A,
    /// To.
    pub destination: A,
    /// Where what it carries begins, from the start of the frame.
    pub transport: usize,
    /// And how long that is: its header and payload.
    pub length: u16,
    /// And which protocol it is.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hops: u8,
    /// Which part.
    pub fragment: Fragment,
    /// Where that is in the whole, in units of 8 bytes.
    pub place: u16,
    /// What the parts of a whole have in common: for IPv4 the last two bytes.
    pub identification: [u8; 4],
    /// Version and lengths make sense.
    pub sound: bool,
}

/// A TCP segment or UDP datagram. Aligned for the stack, as [`FlowKey`].
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<A> {
    /// Its tuple.
    pub key: FlowKey<A>,
    /// Where it begins, from the start of the frame.
    pub transport: usize,
    /// Its header and payload.
    pub length: u16,
    /// Its checksum field, raw.
    pub field: u16,
    /// What it says about the connection.
    pub event: Event,
    /// TTL or hop limit.
    pub hops: u8,
    /// Which part of it this is: a later one has no header.
    pub fragment: Fragment,
}

/// A segment over IPv4.
pub type SegmentV4 = Segment<Ipv4>;

/// TCP in an IP header.
pub const TCP: u8 = Protocol::Tcp.number();
/// UDP in an IP header.
pub const UDP: u8 = Protocol::Udp.number();

impl<A> Segment<A> {
    /// Is it at least as long as its own header?
    #[inline(always)]
    pub const fn is_whole(&self) -> bool {
        match self.key.protocol {
            Protocol::Tcp => self.length as usize >= size_of::<TcpHdr>(),
            Protocol::Udp => self.length as usize >= size_of::<UdpHdr>(),
        }
    }

    /// Where it ends, from the start of the frame.
    #[inline(always)]
    pub const fn end(&self) -> u32 {
        self.transport as u32 + self.length as u32
    }
}

/// The IP header of a packet, and what that leads to.
///
/// # Errors
///
/// `Truncated`; `ExtensionHeaders` where they lead nowhere.
#[inline(always)]
pub fn ip<P: Packet, F: Family>(packet: &mut P) -> Result<Ip<F::Address>, Reason> {
    packet.pull(packet.network() + size_of::<F::Fixed>());
    let fixed = F::read(packet.header(packet.network()).ok_or(Reason::Truncated)?, packet.network());
    F::locate(packet, fixed).ok_or(Reason::ExtensionHeaders)
}

/// The segment in a packet; `None` where there is none, or not whole enough to be told.
#[inline(always)]
pub fn segment<P: Packet, A: Address>(packet: &mut P, ip: &Ip<A>) -> Option<Segment<A>> {
    if !ip.sound || ip.fragment == Fragment::Later {
        return None;
    }
    let protocol = Protocol::from_number(ip.protocol)?;
    let (ports, event, field) = match protocol {
        Protocol::Tcp => {
            packet.pull(ip.transport + size_of::<TcpHdr>());
            let tcp = packet.header::<TcpHdr>(ip.transport)?;
            ((tcp.source, tcp.dest), Event::of_tcp(tcp), tcp.check)
        }
        Protocol::Udp => {
            packet.pull(ip.transport + size_of::<UdpHdr>());
            let udp = packet.header::<UdpHdr>(ip.transport)?;
            ((udp.src, udp.dst), Event::DATA, udp.check)
        }
    };
    Some(Segment {
        key: FlowKey {
            source: ip.source,
            destination: ip.destination,
            source_port: Be16(ports.0),
            destination_port: Be16(ports.1),
            protocol,
        },
        event,
        field: u16::from_ne_bytes(field),
        transport: ip.transport,
        length: ip.length,
        hops: ip.hops,
        fragment: ip.fragment,
    })
}
