//! Ranges of ports as the maps hold them: blocks whose size is a power of two, at a multiple of it.

/// Bits of a port.
const BITS: u32 = 16;

/// The fewest blocks that make up the ports from `first` to `last`, as the first and the last port of each.
pub fn blocks(first: u16, last: u16) -> Vec<(u16, u16)> {
    let mut blocks = Vec::new();
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    while next < end {
        let aligned = if next == 0 { BITS } else { next.trailing_zeros().min(BITS) };
        let fitting = (end - next).ilog2();
        let size = 1 << aligned.min(fitting);
        let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        blocks.push((port(next), port(next + size - 1)));
        next += size;
    }
    blocks
}

/// The bits of a port that are the same all over a block.
pub fn prefix(first: u16, last: u16) -> u32 {
    (first ^ last).leading_zeros()
}

/// The last port of the block that begins at `first` and whose ports share `prefix` bits.
pub fn last(first: u16, prefix: u32) -> u16 {
    first | u16::MAX.checked_shr(prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_cover_a_range_and_nothing_else(ends: (u16, u16)) {
            let (first, end) = (ends.0.min(ends.1), ends.0.max(ends.1));
            let blocks = blocks(first, end);
            prop_assert!(blocks.len() <= 30);
            let mut next = u32::from(first);
            for (from, to) in blocks {
                prop_assert_eq!(u32::from(from), next);
                prop_assert_eq!(last(from, prefix(from, to)), to);
                next = u32::from(to) + 1;
            }
            prop_assert_eq!(next, u32::from(end) + 1);
        }
    }

    #[test]
    fn blocks_are_few() {
        assert_eq!(blocks(80, 90), [(80, 87), (88, 89), (90, 90)]);
        assert_eq!(blocks(0, u16::MAX), [(0, u16::MAX)]);
        assert_eq!(blocks(1, u16::MAX).len(), 16);
        assert_eq!(blocks(443, 443), [(443, 443)]);
    }
}
