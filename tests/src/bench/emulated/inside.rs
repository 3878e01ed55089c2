//! What is told inside the machine.

use anyhow::{Context as _, Result};

use super::clock;

use crate::bench::alone::{Clock, PATHS, Path, Stand};
use crate::machine::transcript::say;
use crate::program::Hook;

/// What a [`Count`] is said under.
pub(super) const COUNT: &str = "count";

/// Packets of a batch: each of [`FLOWS`] once, so that a batch is as long as any other. All of it takes less than there is
/// between two ticks of the kernel's timer.
const PACKETS: u32 = 1024;

/// The paths with as many flows are counted.
const FLOWS: u32 = 1024;

/// Enough of them see no tick.
const BATCHES: usize = 4;

/// Counts.
///
/// # Errors
/// When something can't be counted.
pub fn tell() -> Result<()> {
    say("clock", &clock::prove()?.to_string());
    let paths = || PATHS.iter().filter(|path| path.flows <= FLOWS);
    let mut stand = Stand::load(paths().next().context("a path")?)?;
    for path in paths() {
        stand.prepare(path)?;
        let mut c = stand.singles(None, path, Clock::Stamp, PACKETS)?;
        say("raw", &hist(&mut c, path.name, "floor"));
        for (number, name) in stand.subjects(path).collect::<Vec<_>>() {
            let mut c = stand.singles(Some(number), path, Clock::Stamp, PACKETS)?;
            say("raw", &hist(&mut c, path.name, name));
        }
    }
    Ok(())
}

fn hist(c: &mut Vec<u64>, path: &str, name: &str) -> String {
    let mean = c.iter().sum::<u64>() as f64 / c.len() as f64;
    let first = c[..6].to_vec();
    c.sort();
    let q: Vec<u64> = [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0].iter().map(|f| c[((c.len() - 1) as f64 * f) as usize]).collect();
    format!("{path} {name} {mean} {first:?} {q:?}")
}
