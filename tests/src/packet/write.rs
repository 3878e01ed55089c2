//! A packet's bytes.

use super::{Checksum, Frame, Network, Packet, Transport, ones_complement};

impl<A: Network> Frame for Packet<A> {
    fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.macs.1.0);
        frame.extend(self.macs.0.0);
        frame.extend(self.tags.iter().flatten());
        frame.extend(A::ETHER_TYPE);
        frame.extend(self.network_bytes());
        frame.extend(std::iter::repeat_n(0, self.padding));
        frame
    }
}

impl<A: Network> Packet<A> {
    /// The bytes from the IP header on.
    pub fn network_bytes(&self) -> Vec<u8> {
        let transport = self.transport_bytes();
        [A::header(self, transport.len()), transport].concat()
    }

    /// The bytes from the transport header on.
    pub(super) fn transport_bytes(&self) -> Vec<u8> {
        let (mut bytes, field) = match self.transport {
            Transport::Tcp { sequence, acknowledgement, flags, window } => {
                let mut header = Vec::from(self.ports());
                header.extend(sequence.to_be_bytes());
                header.extend(acknowledgement.to_be_bytes());
                let words = u8::try_from(5 + self.tcp_options.len() / 4).expect("at most 15 words");
                header.extend([words << 4, flags]);
                header.extend(window.to_be_bytes());
                header.extend([0; 4]);
                header.extend(&self.tcp_options);
                (header, Some(16))
            }
            Transport::Udp => {
                let mut header = Vec::from(self.ports());
                let length = u16::try_from(8 + self.payload.len()).expect("a datagram below 64 KiB");
                header.extend(length.to_be_bytes());
                header.extend([0, 0]);
                (header, Some(6))
            }
            Transport::Icmp { kind, code, rest } => {
                let mut header = vec![kind, code, 0, 0];
                header.extend(rest);
                (header, Some(2))
            }
            Transport::Other(_) => (Vec::new(), None),
        };
        bytes.extend(&self.payload);
        if let Some(field) = field {
            let sum = self.sum(&bytes);
            bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// The checksum for the transport header and payload, its field being zero.
    fn sum(&self, bytes: &[u8]) -> u16 {
        let pseudo = self.pseudo_header(bytes.len());
        match (self.checksum, self.transport) {
            (Checksum::Is(field), _) => field,
            (Checksum::Partial, _) => ones_complement(&[&pseudo]),
            (Checksum::Full, Transport::Icmp { .. }) if !A::SUMS_CONTROL => !ones_complement(&[bytes]),
            (Checksum::Full, Transport::Udp) => match !ones_complement(&[&pseudo, bytes]) {
                0 => 0xffff,
                sum => sum,
            },
            (Checksum::Full, _) => !ones_complement(&[&pseudo, bytes]),
        }
    }

    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        A::pseudo_header(self, u16::try_from(length).expect("a segment below 64 KiB"))
    }

    fn ports(&self) -> [u8; 4] {
        let [a, b] = self.source.1.to_be_bytes();
        let [c, d] = self.destination.1.to_be_bytes();
        [a, b, c, d]
    }

    pub(super) const fn protocol_number(&self) -> u8 {
        match self.transport {
            Transport::Tcp { .. } => 6,
            Transport::Udp => 17,
            Transport::Icmp { .. } => A::CONTROL,
            Transport::Other(number) => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use lb_common::net::{Ipv4, Mac};

    use super::super::{ECHO_REQUEST, flags, packet};
    use super::*;

    fn sample() -> Packet {
        packet()
            .ethernet(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]))
            .from((Ipv4([198, 51, 100, 10]), 40_000))
            .to((Ipv4([203, 0, 113, 80]), 443))
            .payload(b"hello, world!")
    }

    #[test]
    fn a_tcp_packet_is_what_etherparse_reads() {
        let built =
            sample().tcp_numbered(flags::SYN | flags::ACK, 7, 9).tcp_options(&[1, 1, 1, 0]).tagged(100);
        let bytes = built.bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        assert_eq!(read.vlan_ids().as_slice(), [100.try_into().expect("a VLAN id")]);
        let Some(NetSlice::Ipv4(ref ip)) = read.net else { panic!("no IPv4: {read:?}") };
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        assert_eq!(ip.header().ttl(), 64);
        let Some(TransportSlice::Tcp(tcp)) = read.transport else { panic!("no TCP: {read:?}") };
        assert_eq!((tcp.source_port(), tcp.destination_port()), (40_000, 443));
        assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (7, 9));
        assert!(tcp.syn() && tcp.ack() && !tcp.fin() && !tcp.rst());
        assert_eq!(tcp.payload(), b"hello, world!");
        let sum = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination());
        assert_eq!(Ok(tcp.checksum()), sum);
    }

    #[test]
    fn a_udp_packet_with_options_is_what_etherparse_reads() {
        let built = sample().udp().options(&[0x94, 4, 0, 0]).unfragmentable().identification(77);
        let bytes = built.bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(NetSlice::Ipv4(ref ip)) = read.net else { panic!("no IPv4: {read:?}") };
        assert_eq!(ip.header().options(), [0x94, 4, 0, 0]);
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        assert!(ip.header().dont_fragment());
        let Some(TransportSlice::Udp(udp)) = read.transport else { panic!("no UDP: {read:?}") };
        let expected = udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), udp.payload());
        assert_eq!(Ok(udp.checksum()), expected);
        assert_eq!(built.field(), udp.checksum());
    }

    #[test]
    fn an_echo_request_is_what_etherparse_reads() {
        let bytes = sample().icmp(ECHO_REQUEST, 0, [0, 1, 0, 2]).bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(TransportSlice::Icmpv4(icmp)) = read.transport else { panic!("no ICMP: {read:?}") };
        assert_eq!((icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8()), (8, 0, [0, 1, 0, 2]));
        let header = icmp.header();
        assert_eq!(header.icmp_type.calc_checksum(icmp.payload()), header.checksum);
    }

    #[test]
    fn a_partial_checksum_becomes_the_full_one_when_a_device_adds_the_rest() {
        for packet in [sample().tcp(flags::ACK), sample().udp()] {
            let field = packet.clone().partial().transport_bytes();
            let full = packet.field();
            assert_eq!(!ones_complement(&[&field]), full);
        }
    }
}
