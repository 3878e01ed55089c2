//! Answers to IPv6 segments.

use lb_common::csum::{Delta, pseudo_header};
use lb_common::flow::FlowKey;
use lb_common::net::{Address as _, Ipv6, Protocol};
use lb_common::port::PortValue;
use network_types::tcp::TcpHdr;

use super::{Complaint, NOTHING, TTL, add, address, completed_later, prepend, quote};
use crate::headers::{Aligned, Ethernet, Word};
use crate::packet::Packet;
use crate::parse::{Segment, TCP};

const HEADER: usize = 40;
/// ICMPv6's header.
const MESSAGE: usize = 8;

const ICMP: u8 = 58;
const DESTINATION_UNREACHABLE: u8 = 1;
const PORT_UNREACHABLE: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;

/// Turns a TCP segment into a RST for its sender; `None` where that can't be.
#[inline(always)]
pub fn reset<P: Packet>(packet: &mut P, segment: &Segment<Ipv6>, port: &PortValue) -> Option<()> {
    let network = packet.network();
    let completed = completed_later(packet, segment, port, Protocol::Tcp);
    if completed && segment.transport != network + HEADER {
        return None;
    }
    let asker = packet.header::<Ethernet>(0)?.source;
    let tcp = Aligned(super::reset(packet, segment, completed)?);
    let header = header_to(&segment.key.reversed(), TCP, size_of::<TcpHdr>() as u16);
    packet.resize((network + HEADER + size_of::<TcpHdr>()) as u32).ok()?;
    packet.store(network, &header.0).ok()?;
    packet.store(network + HEADER, &tcp.0).ok()?;
    address(packet, asker, port)
}

/// Turns a segment into an ICMPv6 error about it for its sender (RFC 4443); `None` where that can't be.
#[inline(always)]
pub fn error<P: Packet>(
    packet: &mut P,
    segment: &Segment<Ipv6>,
    port: &PortValue,
    complaint: Complaint,
) -> Option<()> {
    let quote = quote(packet, segment, port)?;
    let (kind, code, rest) = match complaint {
        Complaint::PortUnreachable => (DESTINATION_UNREACHABLE, PORT_UNREACHABLE, [0; 4]),
        Complaint::TooBig(mtu) => (PACKET_TOO_BIG, 0, u32::from(mtu).to_be_bytes()),
    };
    let key = segment.key.reversed();
    let length = MESSAGE as u16 + quote.length;
    let pseudo = pseudo_header(key.source, key.destination, ICMP, length);
    let sum = add(Delta::new().replace16(0, quote.sum).replace16(0, pseudo), rest);
    let [a, b] = add(sum, [kind, code, 0, 0]).apply(NOTHING).to_ne_bytes();
    let [n, o, p, q, r, s, t, u, v, w] = header_to(&key, ICMP, length).0;
    prepend(packet, &Aligned([n, o, p, q, r, s, t, u, v, w, [kind, code, a, b], rest]), port)
}

/// The IP header of a packet with this tuple's addresses and `length` bytes after it.
#[inline(always)]
pub fn header_to(key: &FlowKey<Ipv6>, next: u8, length: u16) -> Aligned<[Word; 10]> {
    let [a, b] = length.to_be_bytes();
    let word = |address: Ipv6, index| address.word(index).to_ne_bytes();
    let (from, to) = (key.source, key.destination);
    Aligned([
        [0x60, 0, 0, 0],
        [a, b, next, TTL],
        word(from, 0),
        word(from, 1),
        word(from, 2),
        word(from, 3),
        word(to, 0),
        word(to, 1),
        word(to, 2),
        word(to, 3),
    ])
}
