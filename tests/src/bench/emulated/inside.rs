//! What is told inside the machine.

use anyhow::{Context as _, Result};

use super::clock;
use super::count::Count;
use crate::bench::alone::{Clock, MEMORY, MEMORY_IN_TURN, MORE_PATHS, PATHS, Path, Stand, Target};
use crate::bench::traffic;
use crate::machine::transcript::say;
use crate::program::Hook;

/// Packets of a path. Each is a run of its own, since at the begin and end of longer ones the kernel waits for the
/// next ticks of its timer.
const PACKETS: u32 = 512;

/// How often they are sent. Entries of flows are refreshed every two seconds, which a packet pays for: a second time,
/// so soon after the first, none has to.
const TIMES: usize = 3;

/// The paths of as many flows are counted. Numbers of instructions know no caches, so there are no more to be seen.
const FLOWS: u32 = 1024;

/// Counts what a packet takes on each path.
///
/// # Errors
/// When something can't be counted, or a program does with a packet what it must not.
pub fn count() -> Result<()> {
    say("clock", &format!("counts instructions, and {} of its own", clock::prove()?));
    clock::align()?;
    for hook in Hook::ALL {
        let mut stand = None;
        for path in paths().filter(|path| path.hook == hook) {
            // Programs take longer to be verified than to be counted.
            let stand = match &mut stand {
                Some(stand) => stand,
                None => stand.insert(Stand::load(path)?),
            };
            count_path(stand, path)?;
        }
    }
    Ok(())
}

fn count_path(stand: &mut Stand, path: &Path) -> Result<()> {
    stand.prepare(path)?;
    let floor = gross(stand, Target::Floor, path)?;
    // Memory has no cost here.
    let counted = |name: &str| ![MEMORY, MEMORY_IN_TURN].contains(&name);
    for (target, name) in stand.subjects(path).into_iter().filter(|&(_, name)| counted(name)) {
        let instructions = gross(stand, target, path)?.saturating_sub(floor);
        Count { path: path.name.to_owned(), subject: name.to_owned(), instructions }.say()?;
    }
    Ok(())
}

/// Counts what a packet's whole way over a node takes.
///
/// # Errors
/// When something can't be counted, or somebody carries packets wrongly.
pub fn carry() -> Result<()> {
    say("clock", &format!("counts instructions, and {} of its own", clock::prove()?));
    clock::align()?;
    traffic::whole_way(|subject, nanoseconds| {
        let instructions = (nanoseconds * clock::rate()?).round() as u64;
        // What all of it takes, by whomever, is a column of its own: it is above no floor.
        Count { path: format!("whole way, {subject}"), subject: "gross".to_owned(), instructions }.say()
    })
}

fn paths() -> impl Iterator<Item = &'static Path> {
    PATHS.iter().chain(MORE_PATHS).filter(|path| path.flows <= FLOWS || path.is_ever_new())
}

/// What the packet in the middle takes, when all are sorted by what they take: a tick of the kernel's timer comes to one
/// in a hundred, and those that it comes to are not in the middle.
fn gross(stand: &mut Stand, target: Target, path: &Path) -> Result<u64> {
    // Sent a second time, the packets would not be the first of their flows.
    let times = if path.is_ever_new() { 1 } else { TIMES };
    let mut least = u64::MAX;
    for _ in 0..times {
        let mut costs = stand.singles(target, path, Clock::Stamp, PACKETS)?;
        costs.sort_unstable();
        least = least.min(*costs.get(costs.len() / 2).context("a packet")?);
    }
    Ok(least)
}
