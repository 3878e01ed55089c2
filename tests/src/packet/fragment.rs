//! Fragments.

use super::{Network, Packet, Transport};

impl<A: Network> Packet<A> {
    /// The identification by which fragments find together: of 16 bits for IPv4.
    #[must_use]
    pub fn identification(self, identification: u32) -> Self {
        Self { identification, ..self }
    }

    /// A fragment: its place in units of 8 bytes, and whether others follow.
    #[must_use]
    pub fn fragment(self, offset: u16, more: bool) -> Self {
        assert!(offset < 0x2000, "no fragment offset: {offset}");
        Self { fragment: offset | if more { 0x2000 } else { 0 }, is_fragment: true, ..self }
    }

    /// Cut into fragments with `size` bytes behind the IP header each, a multiple of 8; the last may be shorter.
    pub fn fragments(&self, size: usize) -> Vec<Self> {
        assert!(size.is_multiple_of(8), "no fragment ends there: {size}");
        let bytes = self.transport_bytes();
        let number = self.protocol_number();
        let last = bytes.chunks(size).len() - 1;
        let place = |index: usize| u16::try_from(index * size / 8).expect("a packet below 64 KiB");
        let parts = bytes.chunks(size).enumerate();
        parts
            .map(|(index, part)| Self {
                transport: Transport::Other(number),
                tcp_options: Vec::new(),
                payload: part.to_vec(),
                ..self.clone().fragment(place(index), index < last)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket};

    use super::super::{Frame as _, packet, packet_v6};

    #[test]
    fn a_fragment_of_ipv4_is_what_etherparse_reads() {
        let bytes = packet().udp().fragment(3, true).bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(NetSlice::Ipv4(ref ip)) = read.net else { panic!("no IPv4: {read:?}") };
        assert_eq!((ip.header().fragments_offset().value(), ip.header().more_fragments()), (3, true));
    }

    #[test]
    fn a_fragment_of_ipv6_is_what_etherparse_reads() {
        let bytes = packet_v6().udp().identification(0xdead_beef).fragment(3, true).bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(NetSlice::Ipv6(ref ip)) = read.net else { panic!("no IPv6: {read:?}") };
        let header = ip.extensions().slice();
        assert_eq!(header, [17, 0, 0, 3 << 3 | 1, 0xde, 0xad, 0xbe, 0xef]);
        assert!(ip.is_payload_fragmented());
    }

    #[test]
    fn fragments_put_together_are_the_packet() {
        let whole = packet().udp().payload(&[7; 100]);
        let parts = whole.fragments(48);
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.payload.clone()).collect();
        assert_eq!(bytes, whole.transport_bytes());
        let places: Vec<_> = parts.iter().map(|part| part.fragment).collect();
        assert_eq!(places, [0x2000, 0x2006, 12]);
    }
}
