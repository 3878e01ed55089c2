//! A clock that goes on with each instruction: the time stamp counter of a machine that tells [`Story::Count`].
//!
//! [`Story::Count`]: crate::machine::story::Story::Count

use std::arch::asm;
use std::arch::x86_64::_rdtsc;

use anyhow::{Result, ensure};

/// Instructions executed since the machine was switched on, by all of it.
pub fn now() -> u64 {
    // SAFETY: every processor of this architecture has the counter, and the kernel lets processes read it.
    unsafe { _rdtsc() }
}

/// Turns of the known loop: fewer instructions than there are between two ticks of the kernel's timer.
const TURNS: u64 = 100_000;

/// Turns twice through a loop of two instructions, a different number of times, and returns what a thousand turns took by the clock.
///
/// # Errors
/// When the clock does not count instructions.
pub fn prove() -> Result<u64> {
    let took = |turns: u64| {
        let attempts = (0..5).map(|_| {
            let before = now();
            spin(turns);
            now() - before
        });
        attempts.min().unwrap_or(u64::MAX)
    };
    let (short, long) = (took(TURNS), took(2 * TURNS));
    ensure!(
        long - short == 2 * TURNS,
        "{TURNS} turns more of a loop of two instructions took {} by the clock",
        long - short
    );
    Ok(short - 2 * TURNS)
}

#[inline(never)]
fn spin(turns: u64) {
    // SAFETY: it counts down a register of its own.
    unsafe { asm!("2:", "dec {turns}", "jnz 2b", turns = inout(reg) turns => _, options(nomem, nostack)) };
}
