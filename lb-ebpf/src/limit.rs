//! How many answers may be made up: a token bucket.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;

use crate::config::nanoseconds;

/// One bucket of each CPU's own; nobody else reads it.
#[btf_map]
static ANSWERS: PerCpuArray<Tokens, 1> = PerCpuArray::new();

/// A unit of time is 2^20 ns, about a millisecond, and brings one token: a thousand a second.
pub const UNIT_SHIFT: u32 = 20;

/// Answers in a burst.
const BURST: u64 = 1000;

/// What is left.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tokens {
    left: u64,
    counted: u64,
}

impl Tokens {
    /// Takes one at `now`, in units.
    #[inline(always)]
    pub const fn take(&mut self, now: u64) -> bool {
        let earned = self.left.saturating_add(now.saturating_sub(self.counted));
        self.left = if earned > BURST { BURST } else { earned };
        self.counted = now;
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }
}

/// May another answer be made up on this CPU?
#[inline(always)]
pub fn answer() -> bool {
    let Some(tokens) = ANSWERS.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    unsafe { (*tokens).take(nanoseconds() >> UNIT_SHIFT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_granted_and_then_one_a_unit() {
        let mut tokens = Tokens { left: 0, counted: 0 };
        let now = 50_000;
        assert_eq!((0..2000).filter(|_| tokens.take(now)).count(), 1000);
        assert!(tokens.take(now + 1) && !tokens.take(now + 1));
        assert_eq!((0..20).filter(|_| tokens.take(now + 8)).count(), 7);
    }
}
