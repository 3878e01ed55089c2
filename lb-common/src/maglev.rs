//! How a Maglev table stands in MAGLEV: an array of maps, one inner array a listener. The inner arrays are
//! mmapable: the agent changes a table of the same size a word at a time, and replaces any other whole.

use crate::abi;

/// Backend ids of two neighbouring slots: an array element is a multiple of 8 bytes anyway.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SlotPair(pub [u32; 2]);

impl SlotPair {
    /// As one word, which is stored and loaded at once.
    pub const fn word(self) -> u64 {
        let [[a, b, c, d], [e, f, g, h]] = [self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes()];
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// From such a word.
    pub const fn of_word(word: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        Self([u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])])
    }
}

/// Table sizes that may be chosen: primes (Maglev, NSDI '16, section 3.4).
pub const SIZES: [u32; 5] = [251, 1021, 4093, 16381, 65537];

/// The slot of a 32-bit hash in a table of `slots`: a multiplication instead of a remainder.
#[inline(always)]
pub const fn slot(hash: u32, slots: u32) -> u32 {
    ((hash as u64 * slots as u64) >> 32) as u32
}

/// Elements of the inner array that holds `slots` slots.
pub const fn pairs(slots: u32) -> u32 {
    slots.div_ceil(2)
}

abi!(SlotPair, 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_inside_and_are_all_reached() {
        for slots in SIZES {
            assert_eq!(slot(0, slots), 0);
            assert_eq!(slot(u32::MAX, slots), slots - 1);
            assert!(pairs(slots) * 2 >= slots);
        }
    }
}
