//! Conditions with deadlines: a test never sleeps and hopes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `check` yields something, and returns it.
///
/// # Errors
/// When it has not done so within `limit`; the text repeats `what`.
pub fn until_some<T>(what: &str, limit: Duration, check: impl FnMut() -> Option<T>) -> Result<T> {
    until_some_at(POLL, what, limit, check)
}

/// As [`until_some`], for a condition that is dear to look at: a pause is made in between.
///
/// # Errors
/// As there.
pub fn until_some_at<T>(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> Option<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = check() {
            return Ok(found);
        }
        if started.elapsed() >= limit {
            bail!("waited {limit:?} in vain until {what}");
        }
        sleep(pause);
    }
}

/// Waits until `check` holds, and returns how long that took.
///
/// # Errors
/// When it has not done so within `limit`; the text repeats `what`.
pub fn until(what: &str, limit: Duration, mut check: impl FnMut() -> bool) -> Result<Duration> {
    let started = Instant::now();
    until_some(what, limit, || check().then_some(()))?;
    Ok(started.elapsed())
}
