//! Answers to IPv4 segments.

use lb_common::csum::Delta;
use lb_common::flow::FlowKey;
use lb_common::net::{Ipv4, Protocol};
use lb_common::port::PortValue;
use network_types::tcp::TcpHdr;

use super::{Complaint, NOTHING, TTL, add, address, completed_later, prepend, quote};
use crate::headers::{Aligned, Ethernet, Word};
use crate::packet::Packet;
use crate::parse::{SegmentV4, TCP};

const HEADER: usize = 20;
/// ICMP's header.
const MESSAGE: usize = 8;

const ICMP: u8 = 1;
const DESTINATION_UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const DO_NOT_FRAGMENT: u8 = 0x40;

/// Turns a TCP segment into a RST for its sender; `None` where that can't be.
#[inline(always)]
pub fn reset<P: Packet>(packet: &mut P, segment: &SegmentV4, port: &PortValue) -> Option<()> {
    let network = packet.network();
    let completed = completed_later(packet, segment, port, Protocol::Tcp);
    if completed && segment.transport != network + HEADER {
        return None;
    }
    let asker = packet.header::<Ethernet>(0)?.source;
    let [f, g, h, i, j] = super::reset(packet, segment, completed)?;
    let [a, b, c, d, e] = header_to(&segment.key.reversed(), TCP, size_of::<TcpHdr>() as u16);
    packet.resize((network + HEADER + size_of::<TcpHdr>()) as u32).ok()?;
    packet.store(network, &[a, b, c, d, e, f, g, h, i, j]).ok()?;
    address(packet, asker, port)
}

/// Turns a segment into an ICMP error about it for its sender (RFC 792, RFC 1191); `None` where that can't be.
#[inline(always)]
pub fn error<P: Packet>(
    packet: &mut P,
    segment: &SegmentV4,
    port: &PortValue,
    complaint: Complaint,
) -> Option<()> {
    let quote = quote(packet, segment, port)?;
    let (code, rest) = match complaint {
        Complaint::PortUnreachable => (PORT_UNREACHABLE, [0; 4]),
        Complaint::TooBig(mtu) => {
            let [a, b] = mtu.to_be_bytes();
            (FRAGMENTATION_NEEDED, [0, 0, a, b])
        }
    };
    let sum = add(Delta::new().replace16(0, quote.sum), rest);
    let [a, b] = add(sum, [DESTINATION_UNREACHABLE, code, 0, 0]).apply(NOTHING).to_ne_bytes();
    let [v, w, x, y, z] = header_to(&segment.key.reversed(), ICMP, MESSAGE as u16 + quote.length);
    prepend(packet, &Aligned([v, w, x, y, z, [DESTINATION_UNREACHABLE, code, a, b], rest]), port)
}

/// The IP header of a packet with this tuple's addresses and `length` bytes after it.
#[inline(always)]
fn header_to(key: &FlowKey<Ipv4>, protocol: u8, length: u16) -> [Word; 5] {
    let [a, b] = (HEADER as u16 + length).to_be_bytes();
    let first = [0x45, 0, a, b];
    let second = [0, 0, DO_NOT_FRAGMENT, 0];
    let (source, destination) = (key.source.0, key.destination.0);
    let sum = [first, second, [TTL, protocol, 0, 0], source, destination].into_iter().fold(Delta::new(), add);
    let [c, d] = sum.apply(NOTHING).to_ne_bytes();
    [first, second, [TTL, protocol, c, d], source, destination]
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
        assert_eq!(header.len(), HEADER);
    }
}
