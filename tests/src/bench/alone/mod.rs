//! Rig A: what the program alone costs a packet, by test runs of the kernel.
//!
//! A generator makes each packet of another flow and hands it on by tail call. With a program behind it that does
//! nothing but send it back, it is the floor, which is subtracted. Flows are begun by real handshakes before anything
//! is measured, and the first packets that come out are compared byte for byte with what they have to be.

mod clock;
mod generator;
mod path;
mod scene;
mod subject;

use anyhow::{Context as _, Result};

use super::Effort;
use super::report::{Bound, Report, Rig, Unit, quantile};
pub use clock::Clock;
use generator::Generator;
pub use path::{PATHS, Path};
use subject::Subject;

/// Measures all paths.
///
/// # Errors
/// When a program does with a packet what it must not, or the kernel refuses.
pub fn run(report: &mut Report, effort: Effort) -> Result<()> {
    for path in PATHS.iter().filter(|path| effort == Effort::Full || path.is_quick()) {
        eprintln!("  {}", path.name);
        let rounds = if effort == Effort::Full { 9 } else { 1 };
        for (subject, samples) in measure(path, Clock::Processor, rounds, path.packets(effort))? {
            report.add(Rig::A, path.name, subject, Unit::Nanoseconds, samples);
        }
    }
    if effort == Effort::Full {
        judge(report);
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
    let generator = &mut Generator::load(path.hook)?;
    let mut subjects = subject::all(path, generator)?;
    let floor = subject::floor(generator, path.hook)?;
    for subject in &mut subjects {
        prepare(path, subject, generator).with_context(|| format!("{}: {}", path.name, subject.name))?;
    }
    let mut samples: Vec<(&'static str, Vec<f64>)> =
        subjects.iter().map(|subject| (subject.name, Vec::new())).collect();
    for _ in 0..rounds {
        generator.aim(&floor.program)?;
        let below = generator.batch(&path.measured(), clock, packets)?;
        for (subject, (_, samples)) in subjects.iter().zip(&mut samples) {
            generator.aim(&subject.program)?;
            // What the others did to the caches is not this one's.
            generator.batch(&path.measured(), clock, packets / 4)?;
            samples.push(generator.batch(&path.measured(), clock, packets)? - below);
        }
    }
    Ok(samples)
}

/// Begins the flows, and looks at what becomes of some packets.
fn prepare(path: &Path, subject: &mut Subject, generator: &mut Generator) -> Result<()> {
    generator.aim(&subject.program)?;
    for shot in path.before(subject.is_two_way) {
        generator.batch(&shot, Clock::Processor, path.flows.min(MOST_BEGUN))?;
    }
    for number in [0, path.flows / 2, path.flows - 1] {
        generator.compare(&path.measured(), number, |shot| subject.expected(shot, number))?;
    }
    Ok(())
}

/// Paths on which every packet begins a flow have millions, which are not begun before.
const MOST_BEGUN: u32 = 1 << 20;

/// The budget: net nanoseconds.
fn judge(report: &mut Report) {
    for path in PATHS {
        let Some(budget) = path.budget else { continue };
        let median =
            report.figure(Rig::A, path.name, subject::LB).map(|figure| quantile(&figure.samples, 0.5));
        let value = (median.unwrap_or(f64::NAN), Unit::Nanoseconds);
        report.check(Rig::A, path.name, value, Bound::AtMost(budget));
    }
}
