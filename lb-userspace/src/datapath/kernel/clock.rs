//! The clock that the packet programs stamp flows with: the kernel's jiffies.

use std::io;

use lb_common::config::{ConfigValue, tick_scale};
use nix::time::{ClockId, clock_getres};

/// `times(2)` counts in hundredths of a second, whatever the kernel counts in (`USER_HZ`).
const USER_HERTZ: u64 = 100;
const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of a jiffy: the coarse clock advances with them.
fn jiffy() -> io::Result<u64> {
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)?;
    let jiffy = u64::try_from(resolution.tv_nsec()).unwrap_or_default();
    if jiffy == 0 { Err(io::Error::other("the coarse clock has no resolution")) } else { Ok(jiffy) }
}

/// What [`ConfigValue::tick_scale`] is on this kernel.
pub(super) fn scale() -> io::Result<u64> {
    jiffy().map(tick_scale)
}

/// The tick of now, at most a hundredth of a second late.
pub(super) fn tick(config: &ConfigValue) -> io::Result<u16> {
    // SAFETY: all of the structure is plain integers.
    let mut unused: libc::tms = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives the call. The answer is the count of jiffies, never an error.
    let hundredths = unsafe { libc::times(&raw mut unused) }.cast_unsigned();
    Ok(config.tick(hundredths * hertz(jiffy()?) / USER_HERTZ))
}

/// Jiffies of a second: a whole number, which the resolution may have lost a fraction of.
const fn hertz(jiffy: u64) -> u64 {
    (SECOND + jiffy / 2) / jiffy
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_kernels_hertz_are_found_again() {
        for hertz in [100, 250, 300, 1000] {
            assert_eq!(super::hertz(SECOND / hertz), hertz);
        }
    }

    #[test]
    fn a_second_is_almost_half_a_tick() {
        // In 2^-16 of a tick, so that it does not take long to see them pass.
        let fine = ConfigValue { tick_scale: scale().unwrap() << 16, ..ConfigValue::default() };
        let before = tick(&fine).unwrap();
        sleep(Duration::from_millis(200));
        let passed = tick(&fine).unwrap().wrapping_sub(before);
        assert!((5_000..60_000).contains(&passed), "{passed} of 2^-16 of a tick in 0.2 s");
    }
}
