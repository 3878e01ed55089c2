//! Answers to segments, made up in the segment's own frame: a RST, or an ICMP error about it.
//!
//! In tc, and in XDP's generic mode, a frame may carry a note that a device is to complete the checksum at the
//! old segment's place. For a RST that place is that of the new segment's field, so the field gets what the note
//! expects. In an ICMP error it is inside the quote: there the field gets the value that completing leaves alone.

pub mod v4;
pub mod v6;

use lb_common::csum::{Delta, pseudo_header};
use lb_common::net::{Address, Be16, Mac, Protocol};
use lb_common::port::{GENERIC, PortValue};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use crate::headers::{Aligned, Ethernet, Header, SOURCE, Tags, Word};
use crate::packet::{Hook, Packet};
use crate::parse::{Segment, TCP};
use crate::rewrite::sum;

/// The TTL of what the node itself sends.
pub const TTL: u8 = 64;

/// What an ICMP error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Complaint {
    /// Nobody listens on this port.
    PortUnreachable,
    /// Longer than the way allows: this is the longest IP packet that fits.
    TooBig(u16),
}

/// The checksum of nothing, with which a sum is completed.
const NOTHING: u16 = 0xffff;
const RST: u8 = 4;
const RST_ACK: u8 = 0x14;

/// The header of the RST that answers a segment (RFC 9293 section 3.10.7.1).
#[inline(always)]
fn reset<P: Packet, A: Address>(packet: &P, segment: &Segment<A>, completed: bool) -> Option<[Word; 5]> {
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
    Some([ports, sequence, acknowledged, offset, [e, f, 0, 0]])
}

/// The part of a packet that an ICMP error quotes: its IP header and the fixed part of what that carries.
struct Quote {
    /// Bytes.
    length: u16,
    /// Their folded sum.
    sum: u16,
}

/// Cuts a frame to its quote.
#[inline(always)]
fn quote<P: Packet, A: Address>(packet: &mut P, segment: &Segment<A>, port: &PortValue) -> Option<Quote> {
    let network = packet.network();
    let (header, field) = match segment.key.protocol {
        Protocol::Tcp => (size_of::<TcpHdr>(), 16),
        Protocol::Udp => (size_of::<UdpHdr>(), 6),
    };
    let completed = completed_later(packet, segment, port, segment.key.protocol);
    packet.resize((segment.transport + header) as u32).ok()?;
    if completed {
        let sum = packet.sum(segment.transport as u32, header as u32) as u16;
        let others = Delta::new().replace16(segment.field, 0).apply(!sum);
        packet.store(segment.transport + field, &Be16::from_raw(left_alone(!others))).ok()?;
    }
    let length = segment.transport + header - network;
    Some(Quote { length: length as u16, sum: packet.sum(network as u32, length as u32) as u16 })
}

/// The value of a checksum field that stays as it is when the field is completed, where all other bytes add up
/// to `others`. The field x becomes -(others + x), so x is half of -others: one's complement numbers count
/// modulo 65,535, which is odd, and halving them is a rotation.
#[inline(always)]
const fn left_alone(others: u16) -> u16 {
    (!others).rotate_right(1)
}

/// Puts headers before the network header, and addresses the frame to the asker.
#[inline(always)]
fn prepend<P: Packet, T: Header>(packet: &mut P, headers: &Aligned<T>, port: &PortValue) -> Option<()> {
    let network = packet.network();
    let asker = packet.header::<Ethernet>(0)?.source;
    let tags = Aligned(*packet.header::<Tags>(Tags::START)?);
    packet.grow(size_of::<T>() as u32).ok()?;
    packet.store(Tags::START, &tags.0).ok()?;
    packet.store(network, &headers.0).ok()?;
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
fn completed_later<P: Packet, A: Address>(
    packet: &P,
    segment: &Segment<A>,
    port: &PortValue,
    protocol: Protocol,
) -> bool {
    (P::HOOK != Hook::Xdp || port.flags & GENERIC != 0)
        && segment.key.protocol == protocol
        && sum::is_pseudo(segment)
        && !sum::adds_up(packet, segment)
}

/// Adds a word to a sum that began with nothing.
#[inline(always)]
fn add(sum: Delta, word: Word) -> Delta {
    sum.replace32(0, u32::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use lb_common::csum;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn completing_a_field_leaves_it_alone(others: u16) {
            let field = left_alone(others);
            let completed = !csum::fold(u64::from(others) + u64::from(field));
            prop_assert_eq!(completed % 0xffff, field % 0xffff);
            prop_assert_eq!(csum::fold(u64::from(field) * 2 + u64::from(others)) % 0xffff, 0);
        }
    }
}
