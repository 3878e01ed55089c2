//! Numbers that nobody can foresee, from one that nobody can foresee.

use std::time::Duration;

/// SplitMix64.
#[derive(Debug)]
pub struct Entropy(u64);

impl Entropy {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Another source, of its own.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// For a transaction.
    pub(super) fn id(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// Less than `limit`, to the millisecond.
    pub(super) fn below(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.next().checked_rem(limit).unwrap_or(0))
    }
}
