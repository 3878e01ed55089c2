//! ICMP messages (RFC 792, RFC 4443).

use lb_common::net::{Ipv6, Mac};

use super::{Packet, ipv6, ones_complement, packet};

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: longer than a link on the way, and not to be fragmented.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Source quench, which nobody heeds any more (RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Bytes of the packet's transport part that an error quotes at least (RFC 792).
pub const LEAST_QUOTED: usize = 8;

/// An ICMP error about `packet`, from where it went to where it came from. Its IP header and, of what follows,
/// at most `quoted` bytes are quoted; `rest` is the ICMP header's last word.
pub fn icmp_error(about: &Packet, kind: (u8, u8), rest: [u8; 4], quoted: usize) -> Packet {
    let bytes = about.network_bytes();
    let quoted = (usize::from(bytes[0] & 0xf) * 4 + quoted).min(bytes.len());
    packet()
        .ethernet(about.macs.1, about.macs.0)
        .from(about.destination)
        .to(about.source)
        .icmp(kind.0, kind.1, rest)
        .payload(&bytes[..quoted])
}

/// *Port unreachable* about `datagram`.
pub fn port_unreachable(datagram: &Packet) -> Packet {
    icmp_error(datagram, (UNREACHABLE, 3), [0; 4], LEAST_QUOTED)
}

/// *Fragmentation needed* about `packet`, for a link with this MTU (RFC 1191).
pub fn fragmentation_needed(about: &Packet, mtu: u16) -> Packet {
    let [high, low] = mtu.to_be_bytes();
    icmp_error(about, (UNREACHABLE, FRAGMENTATION_NEEDED), [0, 0, high, low], LEAST_QUOTED)
}

/// ICMPv6 in an IPv6 header.
pub const ICMPV6: u8 = 58;

/// An ICMPv6 message; `rest` is the header's last word.
pub fn icmpv6(
    macs: (Mac, Mac),
    (source, destination): (Ipv6, Ipv6),
    kind: (u8, u8),
    rest: [u8; 4],
    payload: &[u8],
) -> Vec<u8> {
    let mut message = [&[kind.0, kind.1, 0, 0][..], &rest, payload].concat();
    let length = u32::try_from(message.len()).expect("a message below 64 KiB").to_be_bytes();
    let pseudo = [&source.0[..], &destination.0, &length, &[0, 0, 0, ICMPV6]].concat();
    let sum = !ones_complement(&[&pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(macs, source, destination, ICMPV6, &message)
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use lb_common::net::Ipv4;

    use super::super::Frame as _;
    use super::*;

    #[test]
    fn an_error_quotes_the_packet_it_is_about() {
        let about = packet().from((Ipv4([192, 0, 2, 1]), 1000)).to((Ipv4([192, 0, 2, 2]), 2000)).tcp(2);
        let bytes = fragmentation_needed(&about, 1280).bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(NetSlice::Ipv4(ref ip)) = read.net else { panic!("no IPv4: {read:?}") };
        assert_eq!(ip.header().destination(), [192, 0, 2, 1]);
        let Some(TransportSlice::Icmpv4(icmp)) = read.transport else { panic!("no ICMP: {read:?}") };
        assert_eq!((icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8()), (3, 4, [0, 0, 5, 0]));
        assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());
        assert_eq!(icmp.payload(), &about.network_bytes()[..28]);
        assert_eq!(icmp_error(&about, (11, 0), [0; 4], 500).payload, about.network_bytes());
    }

    #[test]
    fn an_icmpv6_message_is_what_etherparse_reads() {
        let (from, to) = (Ipv6([0x20; 16]), Ipv6([0x21; 16]));
        let bytes = icmpv6((Mac([2; 6]), Mac([4; 6])), (from, to), (2, 0), [0, 0, 5, 0], b"odd");
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(TransportSlice::Icmpv6(icmp)) = read.transport else { panic!("no ICMPv6: {read:?}") };
        assert!(icmp.is_checksum_valid(from.0, to.0));
        assert_eq!((icmp.type_u8(), icmp.payload()), (2, &b"odd"[..]));
    }
}
