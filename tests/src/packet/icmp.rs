//! ICMP messages (RFC 792, RFC 4443).

use super::{Network, Packet, blank};

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

/// An ICMP or ICMPv6 error about `packet`, from where it went to where it came from. Its IP header and, of what
/// follows, at most `quoted` bytes are quoted; `rest` is the ICMP header's last word.
pub fn icmp_error<A: Network>(about: &Packet<A>, kind: (u8, u8), rest: [u8; 4], quoted: usize) -> Packet<A> {
    let bytes = about.network_bytes();
    let header = bytes.len() - about.transport_bytes().len();
    let quoted = (header + quoted).min(bytes.len());
    blank()
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

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use lb_common::net::{Ipv4, Ipv6};

    use super::super::{Frame as _, packet, packet_v6};
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
    fn an_error_over_ipv6_quotes_the_packet_it_is_about() {
        let (from, to) = (Ipv6::new([0x20; 16]), Ipv6::new([0x21; 16]));
        let about = packet_v6().from((from, 1000)).to((to, 2000)).udp().payload(b"odd");
        let bytes = icmp_error(&about, (2, 0), [0, 0, 5, 0], 500).bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(TransportSlice::Icmpv6(icmp)) = read.transport else { panic!("no ICMPv6: {read:?}") };
        assert!(icmp.is_checksum_valid(to.bytes(), from.bytes()));
        assert_eq!((icmp.type_u8(), icmp.bytes5to8()), (2, [0, 0, 5, 0]));
        assert_eq!(icmp.payload(), about.network_bytes());
    }
}
