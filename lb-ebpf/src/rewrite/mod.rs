//! The rewrite of a segment: what changes, and by how much the checksums do.

pub mod plain;
pub mod sum;

use lb_common::csum::{Delta, fold, pseudo_header};
use lb_common::flow::FlowKey;
use lb_common::net::{Address, Protocol};

use sum::Sum;

/// A TTL or hop limit, before and after this hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hops {
    /// As it came.
    pub before: u8,
    /// As it goes.
    pub after: u8,
}

impl Hops {
    /// Of a packet that is not routed. Not an `Option`, whose payload the compiler reads, and the verifier of Linux 6.1
    /// refuses to let it, where there is none.
    #[inline(always)]
    pub const fn kept(hops: u8) -> Self {
        Self { before: hops, after: hops }
    }

    /// Is it routed?
    #[inline(always)]
    pub const fn change(self) -> bool {
        self.before != self.after
    }
}

/// What changes in a segment. Aligned for the stack, as [`FlowKey`].
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<A> {
    /// Its tuple as it came.
    pub from: FlowKey<A>,
    /// Its tuple as it goes.
    pub to: FlowKey<A>,
    /// Where TCP or UDP begins, from the start of the frame.
    pub transport: usize,
    /// The length of that header and its payload.
    pub length: u16,
    /// How far it may go.
    pub hops: Hops,
    /// How its checksum stands. For XDP only: the helpers of tc know it themselves.
    pub sum: Sum,
}

impl<A: Address> Rewrite<A> {
    /// The change of a sum over the addresses.
    #[inline(always)]
    pub fn address_change(&self) -> Delta {
        let Self { from, to, .. } = self;
        Delta::new().replace(from.source, to.source).replace(from.destination, to.destination)
    }

    /// The change of a sum over the ports.
    #[inline(always)]
    pub fn port_change(&self) -> Delta {
        self.with_ports(Delta::new())
    }

    /// Do ports change?
    #[inline(always)]
    pub fn changes_ports(&self) -> bool {
        self.from.source_port != self.to.source_port || self.from.destination_port != self.to.destination_port
    }

    #[inline(always)]
    fn with_ports(&self, change: Delta) -> Delta {
        change
            .replace16(self.from.source_port.raw(), self.to.source_port.raw())
            .replace16(self.from.destination_port.raw(), self.to.destination_port.raw())
    }

    /// The checksum field of the transport header, raw.
    #[inline(always)]
    pub fn field(&self, field: u16) -> u16 {
        match (self.sum, self.to.protocol) {
            (Sum::Full, Protocol::Tcp) => self.with_ports(self.address_change()).apply(field),
            (Sum::Full, Protocol::Udp) => self.with_ports(self.address_change()).apply_udp(field),
            (Sum::Elsewhere, _) => field,
            (Sum::Partial, _) => self.address_change().apply_partial(field),
            (Sum::Whole(bytes), protocol) => {
                let bytes = !self.with_ports(Delta::new().replace16(field, 0)).apply(!bytes);
                let pseudo =
                    pseudo_header(self.to.source, self.to.destination, protocol.number(), self.length);
                match (protocol, !fold(u64::from(bytes) + u64::from(pseudo))) {
                    (Protocol::Udp, 0) => 0xffff,
                    (_, field) => field,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::csum;
    use lb_common::net::{Be16, Ipv4};
    use proptest::prelude::*;

    use super::*;

    fn key(addresses: [[u8; 4]; 2], ports: [u16; 2], protocol: Protocol) -> FlowKey<Ipv4> {
        FlowKey {
            source: Ipv4(addresses[0]),
            destination: Ipv4(addresses[1]),
            source_port: Be16::new(ports[0]),
            destination_port: Be16::new(ports[1]),
            protocol,
        }
    }

    /// A UDP datagram of this tuple with this checksum field.
    fn datagram(key: &FlowKey<Ipv4>, payload: &[u8], field: u16) -> Vec<u8> {
        let length = 8 + payload.len() as u16;
        let (source, destination) = (key.source_port.0, key.destination_port.0);
        [&source[..], &destination, &length.to_be_bytes(), &field.to_ne_bytes(), payload].concat()
    }

    fn pseudo(key: &FlowKey<Ipv4>, length: usize) -> u16 {
        pseudo_header(key.source, key.destination, key.protocol.number(), length as u16)
    }

    fn full(key: &FlowKey<Ipv4>, payload: &[u8]) -> u16 {
        let bytes = datagram(key, payload, 0);
        let sum = csum::sum(&bytes) + u64::from(pseudo(key, bytes.len()));
        match !fold(sum) {
            0 => 0xffff,
            field => field,
        }
    }

    proptest! {
        #[test]
        fn full_partial_and_whole_agree(
            before: [[u8; 4]; 2], after: [[u8; 4]; 2], ports: [[u16; 2]; 2], payload: Vec<u8>,
        ) {
            let from = key(before, ports[0], Protocol::Udp);
            let to = key(after, ports[1], Protocol::Udp);
            let length = 8 + payload.len();
            let rewrite = |sum| Rewrite { from, to, transport: 34, length: length as u16, hops: Hops::kept(64), sum };

            prop_assert_eq!(rewrite(Sum::Full).field(full(&from, &payload)), full(&to, &payload));

            // A device would complete the partial field to the full one.
            let partial = rewrite(Sum::Partial).field(pseudo(&from, length));
            let completed = !fold(csum::sum(&datagram(&to, &payload, partial)));
            let wanted = full(&to, &payload);
            prop_assert!(completed == wanted || completed == 0 && wanted == 0xffff);

            // Whatever the field held, the sum over the whole finds the right one.
            let bytes = fold(csum::sum(&datagram(&from, &payload, 0x1234)));
            prop_assert_eq!(rewrite(Sum::Whole(bytes)).field(0x1234), wanted);
        }
    }
}
