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
        // Not byte by byte.
        let [a, b, c, d, e, f] = self.0;
        u32::from_ne_bytes([a, b, c, d]) as u64 | (u16::from_ne_bytes([e, f]) as u64) << 32 == 0
    }

    /// Addressed to many.
    #[inline(always)]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

/// A MAC, and above it 16 bits of something else: what programs load, compare and store in one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Station(pub u64);

impl Station {
    /// The bits of the MAC.
    pub const MAC: u64 = u64::MAX >> 16;

    /// From both.
    #[inline(always)]
    pub const fn new(mac: Mac, rest: u16) -> Self {
        let ([a, b, c, d, e, f], [g, h]) = (mac.0, rest.to_le_bytes());
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The MAC.
    #[inline(always)]
    pub const fn mac(self) -> Mac {
        let [a, b, c, d, e, f, _, _] = self.0.to_le_bytes();
        Mac([a, b, c, d, e, f])
    }

    /// What is above it.
    #[inline(always)]
    pub const fn rest(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Have they the same MAC?
    #[inline(always)]
    pub const fn is_like(self, other: Self) -> bool {
        (self.0 ^ other.0) << 16 == 0
    }

    /// Is the MAC not known yet?
    #[inline(always)]
    pub const fn is_unset(self) -> bool {
        self.0 << 16 == 0
    }

    /// Is the MAC surely known? Of those that begin with four zeros nothing is said: it takes half the steps.
    #[inline(always)]
    pub const fn is_surely_set(self) -> bool {
        self.0 as u32 != 0
    }
}

/// An IPv4 address.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Ipv4(pub [u8; 4]);

/// An IPv6 address, in two words as the machine would load them: the packet programs would move bytes one by one.
#[repr(C, packed)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ipv6 {
    first: u64,
    second: u64,
}

impl Ipv6 {
    /// From its bytes.
    #[inline(always)]
    pub const fn new(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            first: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            second: u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// Its bytes.
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.first.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.second.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// From both halves, as the machine would load them.
    #[inline(always)]
    pub const fn from_halves((first, second): (u64, u64)) -> Self {
        Self { first, second }
    }

    /// Both halves, as the machine would load them.
    #[inline(always)]
    pub const fn halves(self) -> (u64, u64) {
        (self.first, self.second)
    }
}

impl core::fmt::Debug for Ipv6 {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_tuple("Ipv6").field(&core::net::Ipv6Addr::from(self.bytes())).finish()
    }
}

impl PartialOrd for Ipv6 {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ipv6 {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.bytes().cmp(&other.bytes())
    }
}

impl Ipv6 {
    /// The IPv4-mapped address (RFC 4291 section 2.5.5.2).
    #[inline(always)]
    pub const fn mapped(address: Ipv4) -> Self {
        let [a, b, c, d] = address.0;
        Self::new([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// The IPv4 address that it maps, if it does.
    #[inline(always)]
    pub const fn unmapped(self) -> Option<Ipv4> {
        match self.bytes() {
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

    /// `other` where all bits of the mask are set, `self` where none is. Without a branch, and by words: the
    /// packet programs would choose byte by byte.
    #[must_use]
    fn or_if(self, mask: u64, other: Self) -> Self;
}

impl Address for Ipv4 {
    const WORDS: usize = 1;
    type Tail = [u8; 0];

    #[inline(always)]
    fn word(self, index: usize) -> u32 {
        if index == 0 { u32::from_ne_bytes(self.0) } else { 0 }
    }

    #[inline(always)]
    fn or_if(self, mask: u64, other: Self) -> Self {
        let (own, others) = (u32::from_ne_bytes(self.0), u32::from_ne_bytes(other.0));
        Self((own & !(mask as u32) | others & mask as u32).to_ne_bytes())
    }
}

impl Address for Ipv6 {
    const WORDS: usize = 4;
    type Tail = [u8; 4];

    #[inline(always)]
    fn word(self, index: usize) -> u32 {
        let (first, second) = self.halves();
        // The lower half of a word is what stands first in memory: the packet programs are little-endian.
        match index {
            0 => first as u32,
            1 => (first >> 32) as u32,
            2 => second as u32,
            3 => (second >> 32) as u32,
            _ => 0,
        }
    }

    #[inline(always)]
    fn or_if(self, mask: u64, other: Self) -> Self {
        let ((a, b), (c, d)) = (self.halves(), other.halves());
        Self::from_halves((a & !mask | c & mask, b & !mask | d & mask))
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
            let mut bytes = other.bytes();
            bytes[byte] ^= 1;
            other = Ipv6::new(bytes);
            assert_eq!(other.unmapped(), None, "byte {byte}");
        }
    }

    #[test]
    fn words_of_an_address_are_its_bytes() {
        let address = Ipv6::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let words: Vec<u8> = (0..Ipv6::WORDS).flat_map(|i| address.word(i).to_ne_bytes()).collect();
        assert_eq!(words, address.bytes());
        assert_eq!(address.word(4), 0);
        assert_eq!(Ipv4([192, 0, 2, 1]).word(0).to_ne_bytes(), [192, 0, 2, 1]);
    }
}
