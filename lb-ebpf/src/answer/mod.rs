//! Refusals of segments, made up in the segment's own frame.
//!
//! In tc, and in XDP's generic mode, a frame may carry a note that a device is to complete the checksum at the
//! old segment's place. For TCP that place is that of the new segment's field, so the field gets what the note
//! expects. For ICMP it is a word that must be zero: completing the valid message writes 0xffff there, which is
//! zero in one's complement, so the message stays valid. For ICMPv6, whose sum has a pseudo-header, it is put
//! into padding.

pub mod v4;
pub mod v6;

use lb_common::csum::{Delta, pseudo_header};
use lb_common::net::{Address, Mac, Protocol};
use lb_common::port::{GENERIC, PortValue};
use network_types::tcp::TcpHdr;

use crate::headers::{SOURCE, Word};
use crate::packet::{Hook, Packet};
use crate::parse::{Segment, TCP};
use crate::rewrite::sum;

/// The TTL of what the node itself sends.
pub const TTL: u8 = 64;

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
