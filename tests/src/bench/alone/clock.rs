//! What a batch of packets is measured by.

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

/// A clock that counts up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The time that this thread has had a processor, in nanoseconds: others on the machine do not count.
    Processor,
    /// The time-stamp counter: instructions in a machine that is emulated to count them.
    Stamp,
}

impl Clock {
    /// What it says.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn now(self) -> Result<u64> {
        match self {
            Self::Processor => {
                let time =
                    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("read the thread's clock")?;
                Ok(std::time::Duration::from(time).as_nanos() as u64)
            }
            // SAFETY: reads a register that every x86-64 has.
            Self::Stamp => Ok(unsafe { core::arch::x86_64::_rdtsc() }),
        }
    }
}
