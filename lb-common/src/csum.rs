//! Internet checksums, incrementally (RFC 1624) and in full (RFC 1071).
//!
//! One's complement sums do not care for byte order, so everything is summed as the machine loads it.

use crate::net::Address;

/// The change of a checksum when some 16- and 32-bit words are replaced: a consuming builder.
///
/// `Delta::new().replace32(old, new).replace16(a, b).apply(field)`
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[must_use]
pub struct Delta(u64);

impl Delta {
    /// No change.
    #[inline(always)]
    pub const fn new() -> Self {
        Self(0)
    }

    /// A raw 16-bit word changes from `old` to `new`.
    #[inline(always)]
    pub const fn replace16(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// A raw 32-bit word changes from `old` to `new`.
    #[inline(always)]
    pub const fn replace32(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// A raw 64-bit word changes from `old` to `new`.
    #[inline(always)]
    pub const fn replace64(self, old: u64, new: u64) -> Self {
        self.replace32(old as u32, new as u32).replace32((old >> 32) as u32, (new >> 32) as u32)
    }

    /// An address changes.
    #[inline(always)]
    pub fn replace<A: Address>(self, old: A, new: A) -> Self {
        let mut delta = self.replace32(old.word(0), new.word(0));
        if A::WORDS > 1 {
            delta = delta.replace32(old.word(1), new.word(1));
            delta = delta.replace32(old.word(2), new.word(2));
            delta = delta.replace32(old.word(3), new.word(3));
        }
        delta
    }

    /// Both changes.
    #[inline(always)]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The change itself, as `bpf_l3_csum_replace` and `bpf_l4_csum_replace` take it with size 0.
    #[inline(always)]
    pub const fn diff(self) -> u32 {
        fold(self.0) as u32
    }

    /// The changed checksum field of a header, raw. RFC 1624, equation 3.
    #[inline(always)]
    pub const fn apply(self, field: u16) -> u16 {
        !fold(self.0 + (!field) as u64)
    }

    /// As [`Delta::apply`] for UDP: a zero stays zero, a sum that computes to zero is sent as all ones
    /// (RFC 768).
    #[inline(always)]
    pub const fn apply_udp(self, field: u16) -> u16 {
        match (field, self.apply(field)) {
            (0, _) => 0,
            (_, 0) => 0xffff,
            (_, changed) => changed,
        }
    }

    /// The changed field of a frame whose sender left the checksum to its device: there it holds the folded
    /// pseudo-header sum, uncomplemented, so only addresses belong into the delta.
    #[inline(always)]
    pub const fn apply_partial(self, field: u16) -> u16 {
        fold(self.0 + field as u64)
    }
}

/// Folds a sum to 16 bits: to each half the other one is added, and what is carried out of the upper one is what the
/// lower one carried in.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The folded sum of a TCP or UDP pseudo-header: what a partial checksum field holds. `length` is that of the
/// transport header and its payload, in host order.
#[inline(always)]
pub fn pseudo_header<A: Address>(source: A, destination: A, protocol: u8, length: u16) -> u16 {
    let mut sum = u64::from(u16::from(protocol).to_be()) + u64::from(length.to_be());
    sum += u64::from(source.word(0)) + u64::from(destination.word(0));
    if A::WORDS > 1 {
        sum += u64::from(source.word(1)) + u64::from(destination.word(1));
        sum += u64::from(source.word(2)) + u64::from(destination.word(2));
        sum += u64::from(source.word(3)) + u64::from(destination.word(3));
    }
    fold(sum)
}

/// Sums bytes, for userspace and tests; an odd last byte is padded with zero.
pub fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let rest = words.remainder().first().map_or(0, |&last| u64::from(u16::from_ne_bytes([last, 0])));
    words.fold(rest, |sum, word| match *word {
        [a, b] => sum + u64::from(u16::from_ne_bytes([a, b])),
        _ => sum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Ipv4;
    use proptest::prelude::*;

    fn full(words: &[u16]) -> u16 {
        !fold(words.iter().map(|&w| u64::from(w)).sum())
    }

    proptest! {
        #[test]
        fn incremental_equals_full(mut words in proptest::collection::vec(any::<u16>(), 4..64), new: [u16; 3]) {
            // A header is never all zero (RFC 1624 section 3): one word stays out of the change.
            words[3] |= 1;
            let before = full(&words);
            let old = u32::from(words[0]) | u32::from(words[1]) << 16;
            let replaced = u32::from(new[0]) | u32::from(new[1]) << 16;
            let delta = Delta::new().replace32(old, replaced).replace16(words[2], new[2]);
            words[..3].copy_from_slice(&new);
            prop_assert_eq!(delta.apply(before), full(&words));
        }

        #[test]
        fn folding_is_the_remainder_and_keeps_a_zero_that_is_none(sum: u64) {
            let remainder = (sum % 0xffff) as u16;
            prop_assert_eq!(fold(sum), if remainder == 0 && sum != 0 { 0xffff } else { remainder });
        }

        #[test]
        fn a_partial_field_stays_the_pseudo_header_sum(a: [u8; 4], b: [u8; 4], c: [u8; 4], length: u16) {
            let before = pseudo_header(Ipv4(a), Ipv4(b), 6, length);
            let after = pseudo_header(Ipv4(a), Ipv4(c), 6, length);
            let changed = Delta::new().replace(Ipv4(b), Ipv4(c)).apply_partial(before);
            // Zero has two forms in one's complement.
            prop_assert!(changed == after || changed == 0xffff && after == 0 || changed == 0 && after == 0xffff);
        }
    }

    #[test]
    fn a_sum_of_changes_is_their_one_after_the_other() {
        let (first, second) =
            (Delta::new().replace16(0x1234, 0xfedc), Delta::new().replace32(7, 0x8000_0001));
        assert_eq!(first.plus(second).apply(0xabcd), second.apply(first.apply(0xabcd)));
        assert_eq!(first.plus(second), second.plus(first));
    }

    #[test]
    fn udp_zero_stays_zero_and_computed_zero_becomes_ones() {
        assert_eq!(Delta::new().replace16(1, 2).apply_udp(0), 0);
        assert_eq!(Delta::new().apply_udp(0xffff), 0xffff);
    }

    #[test]
    fn odd_bytes_are_padded() {
        assert_eq!(fold(sum(&[0x12, 0x34, 0x56])), fold(sum(&[0x12, 0x34, 0x56, 0])));
    }
}
