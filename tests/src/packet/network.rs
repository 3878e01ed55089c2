//! The headers of both address families.

use std::fmt::Debug;

use lb_common::net::{Ipv4, Ipv6};

use super::{Packet, ones_complement};

/// An IPv6 extension header: its number in the header before, and its bytes after the first two.
pub type Extension = (u8, Vec<u8>);

/// Addresses, and what a packet between them looks like.
pub trait Network: Copy + Default + PartialEq + Eq + Debug {
    /// In the Ethernet header.
    const ETHER_TYPE: [u8; 2];
    /// The protocol number of ICMP.
    const CONTROL: u8;
    /// Whether the pseudo-header is part of ICMP's checksum.
    const SUMS_CONTROL: bool;

    /// The IP header, with all that stands between it and `transport` bytes.
    fn header(packet: &Packet<Self>, transport: usize) -> Vec<u8>;

    /// What goes into the transport checksum of `transport` bytes.
    fn pseudo_header(packet: &Packet<Self>, transport: u16) -> Vec<u8>;
}

impl Network for Ipv4 {
    const ETHER_TYPE: [u8; 2] = [0x08, 0x00];
    const CONTROL: u8 = 1;
    const SUMS_CONTROL: bool = false;

    fn header(packet: &Packet, transport: usize) -> Vec<u8> {
        let words = 5 + packet.options.len() / 4;
        let mut header = vec![0x40 | u8::try_from(words).expect("at most 15 words"), 0];
        header.extend(u16::try_from(words * 4 + transport).expect("an IP packet below 64 KiB").to_be_bytes());
        header.extend(u16::try_from(packet.identification).expect("16 bits").to_be_bytes());
        header.extend(packet.fragment.to_be_bytes());
        header.extend([packet.ttl, packet.protocol_number(), 0, 0]);
        header.extend(packet.source.0.0);
        header.extend(packet.destination.0.0);
        header.extend(&packet.options);
        let sum = !ones_complement(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn pseudo_header(packet: &Packet, transport: u16) -> Vec<u8> {
        let (source, destination) = (packet.source.0.0, packet.destination.0.0);
        let length = transport.to_be_bytes();
        [&source[..], &destination, &[0, packet.protocol_number()], &length].concat()
    }
}

/// The fragment header's number.
const FRAGMENT: u8 = 44;

impl Network for Ipv6 {
    const ETHER_TYPE: [u8; 2] = [0x86, 0xdd];
    const CONTROL: u8 = 58;
    const SUMS_CONTROL: bool = true;

    fn header(packet: &Packet<Self>, transport: usize) -> Vec<u8> {
        let mut extensions = packet.extensions.clone();
        if packet.is_fragment {
            let place = packet.fragment << 3 | packet.fragment >> 13 & 1;
            extensions
                .push((FRAGMENT, [&place.to_be_bytes()[..], &packet.identification.to_be_bytes()].concat()));
        }
        let mut next = packet.protocol_number();
        let mut chain = Vec::new();
        for (kind, body) in extensions.iter().rev() {
            let units = u8::try_from((body.len() + 2) / 8 - 1).expect("a header below 2 KiB");
            let units = if *kind == FRAGMENT { 0 } else { units };
            chain = [&[next, units], &body[..], &chain].concat();
            next = *kind;
        }
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(u16::try_from(chain.len() + transport).expect("a packet below 64 KiB").to_be_bytes());
        header.extend([next, packet.ttl]);
        header.extend(packet.source.0.bytes());
        header.extend(packet.destination.0.bytes());
        header.extend(chain);
        header
    }

    fn pseudo_header(packet: &Packet<Self>, transport: u16) -> Vec<u8> {
        let (source, destination) = (packet.source.0.bytes(), packet.destination.0.bytes());
        let length = u32::from(transport).to_be_bytes();
        [&source[..], &destination, &length, &[0, 0, 0, packet.protocol_number()]].concat()
    }
}

impl Packet {
    /// IP options; a multiple of four bytes.
    #[must_use]
    pub fn options(self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4) && options.len() <= 40, "no IP options: {options:?}");
        Self { options: options.to_vec(), ..self }
    }

    /// Sets the *don't fragment* flag.
    #[must_use]
    pub fn unfragmentable(self) -> Self {
        Self { fragment: self.fragment | 0x4000, ..self }
    }
}

impl Packet<Ipv6> {
    /// Adds an extension header behind those that are there: its number, and its bytes after the first two.
    #[must_use]
    pub fn extension(mut self, number: u8, body: &[u8]) -> Self {
        assert!((body.len() + 2).is_multiple_of(8), "no extension header: {body:?}");
        self.extensions.push((number, body.to_vec()));
        self
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use lb_common::net::Mac;

    use super::super::{Frame as _, flags, packet_v6};
    use super::*;

    fn sample() -> Packet<Ipv6> {
        let address = |last| Ipv6::new([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        packet_v6()
            .ethernet(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]))
            .from((address(1), 40_000))
            .to((address(2), 443))
            .payload(b"hello, world!")
    }

    #[test]
    fn ipv6_is_what_etherparse_reads() {
        let bytes = sample().tcp(flags::SYN).tagged(7).bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(NetSlice::Ipv6(ref ip)) = read.net else { panic!("no IPv6: {read:?}") };
        assert_eq!(ip.header().destination()[15], 2);
        let Some(TransportSlice::Tcp(tcp)) = read.transport else { panic!("no TCP: {read:?}") };
        assert_eq!((tcp.source_port(), tcp.syn(), tcp.payload()), (40_000, true, &b"hello, world!"[..]));
        let sum = tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination());
        assert_eq!(Ok(tcp.checksum()), sum);
    }

    #[test]
    fn extension_headers_are_what_etherparse_reads() {
        let bytes = sample().udp().extension(0, &[1, 4, 0, 0, 0, 0]).extension(60, &[1; 14]).bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(NetSlice::Ipv6(ref ip)) = read.net else { panic!("no IPv6: {read:?}") };
        assert_eq!(ip.extensions().slice().len(), 8 + 16);
        let Some(TransportSlice::Udp(udp)) = read.transport else { panic!("no UDP: {read:?}") };
        assert_eq!((udp.destination_port(), udp.payload()), (443, &b"hello, world!"[..]));
    }

    #[test]
    fn an_echo_request_over_ipv6_has_the_sum_that_etherparse_finds() {
        let bytes = sample().icmp(128, 0, [0, 1, 0, 2]).bytes();
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(NetSlice::Ipv6(ref ip)) = read.net else { panic!("no IPv6: {read:?}") };
        let Some(TransportSlice::Icmpv6(icmp)) = read.transport else { panic!("no ICMPv6: {read:?}") };
        assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
    }
}
