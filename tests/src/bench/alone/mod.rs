//! Rig A: what the program alone costs a packet, by test runs of the kernel.
//!
//! A generator makes each packet of another flow and hands it on by tail call. With a program behind it that does
//! nothing but send it back, it is the floor, which is subtracted. Flows are begun by real handshakes before anything
//! is measured, and the first packets that come out are compared byte for byte with what they have to be.

mod clock;
mod generator;
mod path;
mod scene;
mod stand;
mod subject;

use anyhow::Result;

use super::Effort;
use super::pinned::Pinned;
use super::report::{Bound, Report, Rig, Unit, quantile};
pub use clock::Clock;
pub use path::{MORE_PATHS, PATHS, Path};
pub use stand::{Stand, Target};
pub use subject::{LB, MEMORY, MEMORY_IN_TURN};

/// Measures all paths whose names contain `name`.
///
/// # Errors
/// When a program does with a packet what it must not, or the kernel refuses.
pub fn run(report: &mut Report, effort: Effort, name: &str, rounds: usize) -> Result<()> {
    let wanted = |path: &&Path| path.name.contains(name) && (effort == Effort::Full || path.is_quick());
    for path in PATHS.iter().filter(wanted) {
        eprintln!("  {}", path.name);
        let rounds = if effort == Effort::Full { rounds } else { 1 };
        for (subject, samples) in measure(path, Clock::Processor, rounds, path.packets(effort))? {
            report.add(Rig::A, path.name, subject, Unit::Nanoseconds, samples);
        }
    }
    if effort == Effort::Full {
        judge(report, name);
    }
    Ok(())
}

/// What each subject costs a packet on this path above the floor, one number for each round.
///
/// # Errors
/// When a program does with a packet what it must not, or the kernel refuses.
pub fn measure(
    path: &Path,
    clock: Clock,
    rounds: usize,
    packets: u32,
) -> Result<Vec<(&'static str, Vec<f64>)>> {
    let _pinned = Pinned::here()?;
    let mut stand = Stand::load(path)?;
    stand.prepare(path)?;
    let subjects = stand.subjects(path);
    let mut samples: Vec<_> = subjects.iter().map(|&(_, name)| (name, Vec::new())).collect();
    for _ in 0..rounds {
        let below = stand.batch(Target::Floor, path, clock, packets)?;
        for (&(target, _), (_, samples)) in subjects.iter().zip(&mut samples) {
            // What the others did to the caches is not this one's.
            stand.batch(target, path, clock, packets / 4)?;
            samples.push(stand.batch(target, path, clock, packets)? - below);
        }
    }
    Ok(samples)
}

/// The budget: net nanoseconds of a machine on which the yardstick took so many, as many more or fewer here as the
/// yardstick takes here.
fn judge(report: &mut Report, name: &str) {
    for path in PATHS.iter().filter(|path| path.name.contains(name)) {
        let Some(budget) = &path.budget else { continue };
        let median = |path, subject| {
            report.figure(Rig::A, path, subject).map_or(f64::NAN, |figure| quantile(&figure.samples, 0.5))
        };
        let (took, yardstick) = (median(path.name, subject::LB), median(budget.beside, subject::YARDSTICK));
        if yardstick.is_nan() {
            let reason = format!("{}: not judged without {}", path.name, budget.beside);
            report.skipped.push(reason);
            continue;
        }
        let bound = Bound::AtMost(budget.nanoseconds * yardstick / budget.yardstick);
        report.check(Rig::A, path.name, (took, Unit::Nanoseconds), bound);
    }
}
