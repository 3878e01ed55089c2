//! Refusals of IPv6 segments.

use lb_common::csum::{Delta, pseudo_header};
use lb_common::flow::FlowKey;
use lb_common::net::{Address as _, Ipv6, Protocol};
use lb_common::port::PortValue;
use network_types::tcp::TcpHdr;

use super::{NOTHING, TTL, add, address, completed_later};
use crate::headers::{Aligned, Ethernet, Word};
use crate::packet::Packet;
use crate::parse::{Segment, TCP};

const HEADER: usize = 40;
/// ICMPv6's header, then the IP header and the eight bytes that it quotes.
const UNREACHABLE: usize = 8 + HEADER + 8;
/// A destination options header that is nothing but padding (RFC 8200 section 4.2).
const PADDING: Aligned<[Word; 2]> = Aligned([[ICMP, 0, 1, 4], [0; 4]]);

const ICMP: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;
const DESTINATION_UNREACHABLE: u8 = 1;
const PORT_UNREACHABLE: u8 = 4;

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

/// Turns a UDP datagram into an ICMPv6 port unreachable for its sender (RFC 4443 section 3.1); `None` where that
/// can't be, and for a datagram with extension headers, whose header has no fixed place in the answer.
#[inline(always)]
pub fn unreachable<P: Packet>(packet: &mut P, segment: &Segment<Ipv6>, port: &PortValue) -> Option<()> {
    let network = packet.network();
    if segment.transport != network + HEADER {
        return None;
    }
    let completed = completed_later(packet, segment, port, Protocol::Udp);
    let asker = packet.header::<Ethernet>(0)?.source;
    let key = segment.key.reversed();
    let quoted = Aligned(*packet.header::<[Word; 12]>(network)?);
    let pseudo = pseudo_header(key.source, key.destination, ICMP, UNREACHABLE as u16);
    let sum = Delta::new().replace16(0, pseudo);
    let kind = [DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, 0];
    let [a, b] = quoted.0.into_iter().fold(add(sum, kind), add).apply(NOTHING).to_ne_bytes();
    let message = Aligned([[DESTINATION_UNREACHABLE, PORT_UNREACHABLE, a, b], [0; 4]]);
    let padding = if completed { size_of_val(&PADDING) } else { 0 };
    let next = if completed { DESTINATION_OPTIONS } else { ICMP };
    let start = network + HEADER + padding;
    packet.resize((start + UNREACHABLE) as u32).ok()?;
    packet.store(network, &header_to(&key, next, (padding + UNREACHABLE) as u16).0).ok()?;
    if completed {
        packet.store(network + HEADER, &PADDING.0).ok()?;
    }
    packet.store(start, &message.0).ok()?;
    packet.store(start + size_of_val(&message), &quoted.0).ok()?;
    address(packet, asker, port)
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
