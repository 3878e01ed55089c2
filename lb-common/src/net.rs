//! Addresses and ports as they stand on the wire: byte arrays in network order, alignment 1.

use crate::abi;

/// A 16-bit integer in network byte order: ports, EtherTypes, lengths.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Be16(pub [u8; 2]);

impl Be16 {
    /// From host order.
    #[inline(always)]
    pub const fn new(host: u16) -> Self {
        Self(host.to_be_bytes())
    }

    /// In host order.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be_bytes(self.0)
    }

    /// The two bytes as the machine would load them: for comparing and summing, never for arithmetic.
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        u16::from_ne_bytes(self.0)
    }

    /// The inverse of [`Be16::raw`].
    #[inline(always)]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw.to_ne_bytes())
    }
}

/// An Ethernet address.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// All zero: not known yet.
    #[inline(always)]
    pub const fn is_unset(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

/// An IPv4 address.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Ipv4(pub [u8; 4]);

/// An IPv6 address.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Ipv6(pub [u8; 16]);

impl Ipv6 {
    /// The IPv4-mapped address (RFC 4291 section 2.5.5.2).
    #[inline(always)]
    pub const fn mapped(address: Ipv4) -> Self {
        let [a, b, c, d] = address.0;
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// The IPv4 address that it maps, if it does.
    #[inline(always)]
    pub const fn unmapped(self) -> Option<Ipv4> {
        match self.0 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some(Ipv4([a, b, c, d])),
            _ => None,
        }
    }
}

abi!(Be16, 2);
abi!(Mac, 6);
abi!(Ipv4, 4);
abi!(Ipv6, 16);

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Ipv4 {}
    impl Sealed for super::Ipv6 {}
}

/// An address of either family, as 32-bit words: what hashing and checksums need to know of it.
pub trait Address: sealed::Sealed + Copy + Eq + Default {
    /// The number of 32-bit words.
    const WORDS: usize;

    /// Zeroes that make an entry of the flow table a multiple of eight bytes.
    type Tail: Copy + Default + core::fmt::Debug;

    /// Word `index`, as the machine would load it; 0 past the end.
    fn word(self, index: usize) -> u32;
}

impl Address for Ipv4 {
    const WORDS: usize = 1;
    type Tail = [u8; 0];

    #[inline(always)]
    fn word(self, index: usize) -> u32 {
        if index == 0 { u32::from_ne_bytes(self.0) } else { 0 }
    }
}

impl Address for Ipv6 {
    const WORDS: usize = 4;
    type Tail = [u8; 4];

    #[inline(always)]
    fn word(self, index: usize) -> u32 {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        match index {
            0 => u32::from_ne_bytes([a, b, c, d]),
            1 => u32::from_ne_bytes([e, f, g, h]),
            2 => u32::from_ne_bytes([i, j, k, l]),
            3 => u32::from_ne_bytes([m, n, o, p]),
            _ => 0,
        }
    }
}

/// The transport protocols that are balanced, with their IP protocol numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
}

impl Protocol {
    /// From the number in an IP header.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// The number in an IP header.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_keep_network_order() {
        assert_eq!(Be16::new(80).0, [0, 80]);
        assert_eq!(Be16::new(0xabcd).get(), 0xabcd);
        assert_eq!(Be16::from_raw(Be16::new(443).raw()), Be16::new(443));
    }

    #[test]
    fn a_mapped_address_is_found_again_and_no_other_is_taken_for_one() {
        let address = Ipv4([192, 0, 2, 1]);
        assert_eq!(Ipv6::mapped(address).unmapped(), Some(address));
        for byte in 0..12 {
            let mut other = Ipv6::mapped(address);
            other.0[byte] ^= 1;
            assert_eq!(other.unmapped(), None, "byte {byte}");
        }
    }

    #[test]
    fn words_of_an_address_are_its_bytes() {
        let address = Ipv6([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let words: Vec<u8> = (0..Ipv6::WORDS).flat_map(|i| address.word(i).to_ne_bytes()).collect();
        assert_eq!(words, address.0);
        assert_eq!(address.word(4), 0);
        assert_eq!(Ipv4([192, 0, 2, 1]).word(0).to_ne_bytes(), [192, 0, 2, 1]);
    }
}
