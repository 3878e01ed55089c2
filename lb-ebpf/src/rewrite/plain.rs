//! The rewrite of a packet that begins with [`Plain`]: all of it is in one place, and is looked up once.

use lb_common::csum::Delta;
use lb_common::net::{Protocol, Station};

use crate::headers::Plain;

/// What changes.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Source and destination as they go, as [`Plain::addresses`] gives them.
    pub addresses: u64,
    /// Both ports as they go, as [`Plain::ports`] gives them.
    pub ports: u32,
    /// What the TTL loses.
    pub hop: u8,
    /// Which of the Ethernet addresses are set.
    pub frame: Frame,
}

/// The Ethernet addresses of a frame: how many of them are set, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// None, the destination, or both.
    pub set: u32,
    /// To whom.
    pub to: Station,
    /// From whom.
    pub from: Station,
}

impl Change {
    /// Makes it.
    #[inline(always)]
    pub fn apply(&self, plain: &mut Plain) {
        let segment = self.of_addresses(plain).plus(self.of_ports(plain));
        if plain.protocol == Protocol::Tcp.number() {
            plain.tcp_check = segment.apply(u16::from_ne_bytes(plain.tcp_check)).to_ne_bytes();
        } else {
            plain.udp_check = segment.apply_udp(u16::from_ne_bytes(plain.udp_check)).to_ne_bytes();
        }
        plain.check = self.header_check(plain).to_ne_bytes();
        plain.hops = plain.hops.wrapping_sub(self.hop);
        plain.addresses = self.addresses.to_ne_bytes();
        plain.ports = self.ports.to_ne_bytes();
        self.frame.apply(plain);
    }

    /// The packet's first words as it makes them, for those who store them at once: all but the segment's checksum.
    #[inline(always)]
    pub fn head(&self, plain: &Plain) -> [u64; Plain::WORDS] {
        let [to, mut from, hops, _, ports] = plain.words();
        let to = match self.frame.set {
            0 => to,
            1 => self.frame.to.0 & Station::MAC | to & !Station::MAC,
            _ => {
                from = from >> 32 << 32 | (self.frame.from.0 & Station::MAC) >> 16;
                self.frame.to.0 & Station::MAC | self.frame.from.0 << 48
            }
        };
        let hops = hops.wrapping_sub(u64::from(self.hop) << 48);
        let check = u64::from(self.header_check(plain)) | self.addresses << 16;
        let ports = self.addresses >> 48 | u64::from(self.ports) << 16 | ports >> 48 << 48;
        [to, from, hops, check, ports]
    }

    #[inline(always)]
    fn header_check(&self, plain: &Plain) -> u16 {
        // What the TTL loses, the word that begins with it loses, too.
        let change = self.of_addresses(plain).replace16(u16::from_ne_bytes([self.hop, 0]), 0);
        change.apply(u16::from_ne_bytes(plain.check))
    }

    /// The change of a sum over the addresses.
    #[inline(always)]
    pub fn of_addresses(&self, plain: &Plain) -> Delta {
        Delta::new().replace64(plain.addresses(), self.addresses)
    }

    /// The change of a sum over the ports.
    #[inline(always)]
    pub fn of_ports(&self, plain: &Plain) -> Delta {
        Delta::new().replace32(plain.ports(), self.ports)
    }
}

impl Frame {
    /// Neither.
    pub const KEPT: Self = Self { set: 0, to: Station(0), from: Station(0) };

    /// To somebody.
    #[inline(always)]
    pub const fn to(to: Station) -> Self {
        Self { set: 1, to, from: Station(0) }
    }

    /// From somebody to somebody.
    #[inline(always)]
    pub const fn between(from: Station, to: Station) -> Self {
        Self { set: 2, to, from }
    }

    #[inline(always)]
    fn apply(&self, plain: &mut Plain) {
        match self.set {
            0 => {}
            1 => plain.send_to(self.to),
            _ => plain.send(self.from, self.to),
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::net::Mac;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_words_of_the_head_are_those_of_the_packet_changed(
            bytes in prop::array::uniform32(any::<u8>()), more in prop::array::uniform22(any::<u8>()),
            addresses: u64, ports: u32, hop in 0_u8..2, set in 0_u32..3, to: [u8; 6], from: [u8; 6], rest: u16,
        ) {
            let mut packet = [bytes.as_slice(), &more].concat();
            let frame = Frame { set, to: Station::new(Mac(to), rest), from: Station::new(Mac(from), rest) };
            let change = Change { addresses, ports, hop, frame };
            // SAFETY: the bytes are as many, and any are headers.
            let plain = unsafe { &mut *packet.as_mut_ptr().cast::<Plain>() };
            // No packet comes so far with less.
            plain.hops = plain.hops.max(hop);
            let head = change.head(plain);
            change.apply(plain);
            prop_assert_eq!(head, plain.words());
        }
    }
}
