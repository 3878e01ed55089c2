//! What is told inside the machine.

use anyhow::{Context as _, Result};

use super::clock;
use super::count::Count;
use crate::bench::alone::{Clock, PATHS, Path, Stand, Target};
use crate::machine::transcript::say;

/// Packets of a path. Each is a run of its own, since at the begin and end of longer ones the kernel waits for the
/// next ticks of its timer.
const PACKETS: u32 = 1024;

/// Counts what a packet takes on each path.
///
/// # Errors
/// When something can't be counted, or a program does with a packet what it must not.
pub fn tell() -> Result<()> {
    say("clock", &format!("counts instructions, and {} of its own", clock::prove()?));
    let mut stand = Stand::load(paths().next().context("a path")?)?;
    for path in paths() {
        stand.prepare(path)?;
        let floor = stand.singles(Target::Floor, path, Clock::Stamp, PACKETS)?;
        for (target, name) in stand.subjects(path) {
            let gross = stand.singles(target, path, Clock::Stamp, PACKETS)?;
            Count::above(path.name, name, &floor, &gross).say()?;
        }
    }
    Ok(())
}

/// Those that are small, or have no flows begun before. Numbers of instructions know no caches.
fn paths() -> impl Iterator<Item = &'static Path> {
    PATHS.iter().filter(|path| path.flows <= PACKETS || path.is_ever_new())
}
