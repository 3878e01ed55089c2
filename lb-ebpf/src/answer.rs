//! Refusals of IPv4 segments, made up in the segment's own frame.
//!
//! In tc, and in XDP's generic mode, a frame may carry a note that a device is to complete the checksum at the
//! old segment's place. For TCP that place is that of the new segment's field, so the field gets what the
//! note expects. For an ICMP message it is a word that must be zero: completing the valid message writes
//! 0xffff there, which is zero in one's complement, so the message stays valid.

use lb_common::csum::{Delta, pseudo_header};
use lb_common::flow::FlowKey;
use lb_common::net::{Ipv4, Mac, Protocol};
use lb_common::port::{GENERIC, PortValue};
use network_types::tcp::TcpHdr;

use crate::headers::{Ethernet, SOURCE, Word};
use crate::packet::{Hook, Packet};
use crate::parse::{SegmentV4, TCP};
use crate::rewrite::sum;

/// The TTL of what the node itself sends.
pub const TTL: u8 = 64;

const IP: usize = size_of::<Ethernet>();
const IP_HEADER: usize = 20;
const TRANSPORT: usize = IP + IP_HEADER;
const RESET: usize = TRANSPORT + size_of::<TcpHdr>();
/// ICMP's header, then the IP header and the eight bytes that it quotes.
const UNREACHABLE: usize = TRANSPORT + 8 + IP_HEADER + 8;

const ICMP: u8 = 1;
const DESTINATION_UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;
const DO_NOT_FRAGMENT: u8 = 0x40;
/// The checksum of nothing, with which a sum is completed.
const NOTHING: u16 = 0xffff;
const RST: u8 = 4;
const RST_ACK: u8 = 0x14;

/// Turns a TCP segment into a RST for its sender (RFC 9293 section 3.10.7.1); `None` where that can't be.
#[inline(always)]
pub fn reset<P: Packet>(packet: &mut P, segment: &SegmentV4, port: &PortValue) -> Option<()> {
    let completed = completed_later(packet, segment, port);
    if completed && segment.transport != TRANSPORT {
        return None;
    }
    let asker = packet.header::<Ethernet>(0)?.source;
    let tcp: &TcpHdr = packet.header(segment.transport)?;
    let header = tcp.doff() * 4;
    let payload = u32::from(segment.length.saturating_sub(header)) + u32::from(tcp.syn() + tcp.fin());
    let (sequence, acknowledged, flags) = if tcp.ack() != 0 {
        (tcp.ack_seq, [0; 4], RST)
    } else {
        ([0; 4], u32::from_be_bytes(tcp.seq).wrapping_add(payload).to_be_bytes(), RST_ACK)
    };
    let key = segment.key.reversed();
    let [a, b] = key.source_port.0;
    let [c, d] = key.destination_port.0;
    let (ports, offset) = ([a, b, c, d], [0x50, flags, 0, 0]);
    let pseudo = pseudo_header(key.source, key.destination, TCP, size_of::<TcpHdr>() as u16);
    let sum =
        [ports, sequence, acknowledged, offset].into_iter().fold(Delta::new().replace16(0, pseudo), add);
    let check = if completed { pseudo } else { sum.apply(NOTHING) };
    let [e, f] = check.to_ne_bytes();
    let [v, w, x, y, z] = header_to(&key, TCP, size_of::<TcpHdr>() as u16);
    packet.resize(RESET as u32).ok()?;
    packet.store(IP, &[v, w, x, y, z, ports, sequence, acknowledged, offset, [e, f, 0, 0]]).ok()?;
    address(packet, asker, port)
}

/// Turns a UDP datagram into an ICMP port unreachable for its sender (RFC 792); `None` where that can't be,
/// and for a datagram with IP options, whose header has no fixed place in the answer.
#[inline(always)]
pub fn unreachable<P: Packet>(packet: &mut P, segment: &SegmentV4, port: &PortValue) -> Option<()> {
    if segment.transport != TRANSPORT {
        return None;
    }
    let asker = packet.header::<Ethernet>(0)?.source;
    let [a, b, c, d, e, f, g]: [Word; 7] = *packet.header(IP)?;
    let kind = [DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, 0];
    let sum = [kind, a, b, c, d, e, f, g].into_iter().fold(Delta::new(), add);
    let [i, j] = sum.apply(NOTHING).to_ne_bytes();
    let kind = [DESTINATION_UNREACHABLE, PORT_UNREACHABLE, i, j];
    let [v, w, x, y, z] = header_to(&segment.key.reversed(), ICMP, (UNREACHABLE - IP - IP_HEADER) as u16);
    packet.resize(UNREACHABLE as u32).ok()?;
    packet.store(IP, &[v, w, x, y, z, kind, [0; 4], a, b, c, d, e, f, g]).ok()?;
    address(packet, asker, port)
}

/// Addresses the frame to the asker.
#[inline(always)]
fn address<P: Packet>(packet: &mut P, asker: Mac, port: &PortValue) -> Option<()> {
    packet.store(0, &asker).ok()?;
    packet.store(SOURCE, &port.mac).ok()
}

/// Will somebody complete the checksum of this frame after us?
#[inline(always)]
fn completed_later<P: Packet>(packet: &P, segment: &SegmentV4, port: &PortValue) -> bool {
    (P::HOOK != Hook::Xdp || port.flags & GENERIC != 0)
        && segment.key.protocol == Protocol::Tcp
        && sum::is_pseudo(segment)
        && !sum::adds_up(packet, segment)
}

/// The IP header of a packet with this tuple's addresses and `length` bytes after it.
#[inline(always)]
fn header_to(key: &FlowKey<Ipv4>, protocol: u8, length: u16) -> [Word; 5] {
    let [a, b] = (IP_HEADER as u16 + length).to_be_bytes();
    let first = [0x45, 0, a, b];
    let second = [0, 0, DO_NOT_FRAGMENT, 0];
    let (source, destination) = (key.source.0, key.destination.0);
    let sum = [first, second, [TTL, protocol, 0, 0], source, destination].into_iter().fold(Delta::new(), add);
    let [c, d] = sum.apply(NOTHING).to_ne_bytes();
    [first, second, [TTL, protocol, c, d], source, destination]
}

/// Adds a word to a sum that began with nothing.
#[inline(always)]
fn add(sum: Delta, word: Word) -> Delta {
    sum.replace32(0, u32::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use lb_common::csum;
    use lb_common::net::Be16;

    use super::*;

    #[test]
    fn an_answers_header_adds_up() {
        let key = FlowKey {
            source: Ipv4([192, 0, 2, 1]),
            destination: Ipv4([192, 0, 2, 199]),
            source_port: Be16::new(80),
            destination_port: Be16::new(40_000),
            protocol: Protocol::Tcp,
        };
        let header = header_to(&key, TCP, 20).concat();
        assert_eq!(csum::fold(csum::sum(&header)), 0xffff);
        assert_eq!(header.len(), IP_HEADER);
    }
}
