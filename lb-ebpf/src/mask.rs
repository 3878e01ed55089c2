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

/// One, or zero for zero. Unlike what is masked with [`ones_unless_zero`], a product with this has a limit that the
/// verifier of Linux 6.1 knows, as an index must.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn one_unless_zero(value: u64) -> u64 {
    let mut one = value;
    // SAFETY: computes with two registers.
    unsafe {
        core::arch::asm!(
            "{one} = -{one}",
            "{one} |= {value}",
            "{one} >>= 63",
            one = inout(reg) one,
            value = in(reg) value,
            options(pure, nomem, nostack),
        );
    }
    one
}

/// One, or zero for zero.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub const fn one_unless_zero(value: u64) -> u64 {
    if value == 0 { 0 } else { 1 }
}

/// Zero, or one for zero, of a number below 2^63.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn one_if_zero(value: u64) -> u64 {
    let mut one = value;
    // SAFETY: computes with a register.
    unsafe {
        core::arch::asm!(
            "{one} += -1",
            "{one} >>= 63",
            one = inout(reg) one,
            options(pure, nomem, nostack),
        );
    }
    one
}

/// Zero, or one for zero, of a number below 2^63.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub const fn one_if_zero(value: u64) -> u64 {
    if value == 0 { 1 } else { 0 }
}

/// The bits of `value` that are set in `MASK`. In assembly, so that the mask stays where the compiler would drop it,
/// as it sees that no other bit can be set: the verifier may not see it.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn masked<const MASK: u32>(value: u32) -> u32 {
    let mut bits = u64::from(value);
    // SAFETY: computes with a register.
    unsafe {
        core::arch::asm!(
            "{bits} &= {mask}",
            bits = inout(reg) bits,
            mask = const MASK,
            options(pure, nomem, nostack),
        );
    }
    bits as u32
}

/// The bits of `value` that are set in `MASK`.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub const fn masked<const MASK: u32>(value: u32) -> u32 {
    value & MASK
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

    #[test]
    fn one_stands_for_all_but_zero() {
        assert_eq!([0, 1, 1 << 31, u64::MAX].map(one_unless_zero), [0, 1, 1, 1]);
    }
}
