//! A proof that the clock goes on with each instruction, as it does on a machine that tells [`Story::Count`].
//!
//! [`Story::Count`]: crate::machine::story::Story::Count

use std::arch::asm;

use anyhow::{Context as _, Result, ensure};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

use crate::bench::alone::Clock;

/// Turns of the known loop: fewer instructions than there are between two ticks of the kernel's timer.
const TURNS: u64 = 100_000;

/// Enough for one of them to see no tick.
const ATTEMPTS: usize = 5;

/// Turns in a loop of two instructions, and gives what the clock counts beside them.
///
/// # Errors
/// When it does not count instructions.
pub fn prove() -> Result<u64> {
    let (short, long) = (least(TURNS)?, least(2 * TURNS)?);
    ensure!(
        long - short == 2 * TURNS,
        "{TURNS} turns more of a loop of two instructions took {} by the clock",
        long - short
    );
    Ok(short - 2 * TURNS)
}

/// Turns of the loop by which the other clock is measured: some ticks.
const MANY_TURNS: u64 = 5_000_000;

/// Instructions in a nanosecond of a thread's time: one, but for the error with which the kernel has measured the
/// processor's clock, a hundredth at most.
///
/// # Errors
/// When the clocks can't be read.
pub fn rate() -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..ATTEMPTS {
        let (stamp, time) = (Clock::Stamp.now()?, Clock::Processor.now()?);
        spin(MANY_TURNS);
        let (stamp, time) = (Clock::Stamp.now()? - stamp, Clock::Processor.now()? - time);
        // While another thread has the processor, only one of them goes on.
        least = least.min(stamp as f64 / time as f64);
    }
    ensure!((0.98..1.02).contains(&least), "a nanosecond of the thread's time has {least} instructions");
    Ok(least)
}

/// Sets the time of day so that its seconds begin with those since the machine was switched on. The kernel's coarse
/// clock adds a difference of both, whose fraction would carry into the seconds at some times and not at others.
///
/// # Errors
/// When the kernel refuses.
pub fn align() -> Result<()> {
    let since = clock_gettime(ClockId::CLOCK_MONOTONIC).context("read the clock")?;
    clock_settime(ClockId::CLOCK_REALTIME, since + TimeSpec::new(EPOCH, 0)).context("set the clock")
}

/// Some day, in seconds since 1970.
const EPOCH: i64 = 1_767_225_600;

fn least(turns: u64) -> Result<u64> {
    let mut least = u64::MAX;
    for _ in 0..ATTEMPTS {
        let before = Clock::Stamp.now()?;
        spin(turns);
        least = least.min(Clock::Stamp.now()? - before);
    }
    Ok(least)
}

#[inline(never)]
fn spin(turns: u64) {
    // SAFETY: it counts down a register of its own.
    unsafe { asm!("2:", "dec {turns}", "jnz 2b", turns = inout(reg) turns => _, options(nomem, nostack)) };
}
