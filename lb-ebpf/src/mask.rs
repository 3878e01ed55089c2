//! Choices without a branch: branches on the way are mispredicted, and multiply the paths that the verifier
//! follows.

/// All ones, or zero for zero. In assembly, for the compiler makes a branch of whatever it knows to be a
/// comparison.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn ones_unless_zero(value: u64) -> u64 {
    let mut ones = value;
    // SAFETY: computes with two registers.
    unsafe {
        core::arch::asm!(
            "{ones} = -{ones}",
            "{ones} |= {value}",
            "{ones} s>>= 63",
            ones = inout(reg) ones,
            value = in(reg) value,
            options(pure, nomem, nostack),
        );
    }
    ones
}

/// All ones, or zero for zero.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub const fn ones_unless_zero(value: u64) -> u64 {
    if value == 0 { 0 } else { u64::MAX }
}

/// `zero` where the test is zero, else `other`.
#[inline(always)]
pub fn select(test: u64, zero: u64, other: u64) -> u64 {
    let mask = ones_unless_zero(test);
    !mask & zero | mask & other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_selects_the_first() {
        assert_eq!(select(0, 7, 9), 7);
        for test in [1, 1 << 31, u64::MAX] {
            assert_eq!(select(test, 7, 9), 9);
        }
    }
}
