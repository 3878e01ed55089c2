//! Rig C: instructions, counted by an emulated machine. They are the same every time, and a few more are seen; but they
//! know no caches.

mod clock;
mod count;
pub mod inside;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::Effort;
use super::alone::{LB, PATHS};
use super::report::{Bound, Report, Rig, Unit};
use crate::lab::agent;
use crate::machine::image::{Image, PROGRAMS};
use crate::machine::kernel::Kernel;
use crate::machine::story::Story;
use crate::machine::transcript::Transcript;
use crate::machine::{self, QEMU};
use crate::program::object_files;
pub use count::Count;

/// The kernel of the budget.
pub const JUDGED: &str = "6.12";

/// Others.
const OTHERS: [&str; 1] = ["6.1"];

/// Counts on all kernels.
///
/// # Errors
/// When a machine does not tell its story to the end.
pub fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let others = OTHERS.into_iter().filter(|_| effort == Effort::Full);
    for series in [JUDGED].into_iter().chain(others) {
        let kernel = match kernel(series) {
            Ok(kernel) => kernel,
            Err(reason) => {
                report.skipped.push(format!("instructions on Linux {series}: {reason}"));
                continue;
            }
        };
        eprintln!("  Linux {series}");
        let mut counts = count(&kernel, series)?.counts;
        if effort == Effort::Full && series == JUDGED {
            counts.extend(carry(&kernel, series)?);
        }
        for count in counts {
            let subject = format!("{}, {series}", count.subject);
            report.add(Rig::C, &count.path, &subject, Unit::Instructions, vec![count.instructions as f64]);
        }
    }
    judge(report);
    Ok(())
}

/// What is needed to count on a kernel.
///
/// # Errors
/// Says what is missing.
pub fn kernel(series: &str) -> Result<Kernel, String> {
    Command::new(QEMU).arg("--version").output().map_err(|error| format!("no {QEMU}: {error}"))?;
    Kernel::find(series)
}

/// What a machine has counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The kernel's release.
    pub release: String,
    /// By path and subject.
    pub counts: Vec<Count>,
}

/// What packets take on a kernel, above the floor.
///
/// # Errors
/// When the machine does not tell its story to the end.
pub fn count(kernel: &Kernel, series: &str) -> Result<Counted> {
    let guest = beside("guest")?;
    let directory = guest.with_file_name("machines").join(series);
    let image = Image::with_programs(&[&guest], &directory)?.with_modules(kernel)?;
    let (transcript, counts) = told(Story::Count, kernel, image, &directory)?;
    let release = transcript.value("kernel").context("the machine did not tell its kernel")?.to_owned();
    Ok(Counted { release, counts })
}

/// What a packet's whole way takes on a kernel, by all that may carry it.
///
/// # Errors
/// When the machine does not tell its story to the end.
fn carry(kernel: &Kernel, series: &str) -> Result<Vec<Count>> {
    let guest = beside("guest")?;
    let directory = guest.with_file_name("machines").join(format!("{series}-carry"));
    let mut image = Image::with_programs(&[&guest, &agent::binary()?], &directory)?;
    image = image.with_modules(kernel)?.with_peers(kernel)?;
    for tool in ["ethtool", "nft", "ipvsadm"] {
        image = image.with_tool(tool)?;
    }
    Ok(told(Story::Carry, kernel, image, &directory)?.1)
}

/// Boots the kernel with the image and the packet programs.
fn told(
    story: Story,
    kernel: &Kernel,
    mut image: Image,
    directory: &Path,
) -> Result<(Transcript, Vec<Count>)> {
    for object in object_files() {
        let name = object.file_name().unwrap_or_default().to_string_lossy();
        image = image.with_file(&object, &format!("{PROGRAMS}/{name}"))?;
    }
    let transcript = machine::boot(kernel, image, story, directory)?;
    transcript.outcome().map_err(|error| anyhow!("{story:?} in {}: {error}", directory.display()))?;
    let counts = Count::all(&transcript)?;
    ensure!(!counts.is_empty(), "nothing was counted in {}", directory.display());
    Ok((transcript, counts))
}

/// A program that was built with this one. Tests are in a directory below.
fn beside(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("find this program")?;
    let mut places = own.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    let found = places.find(|path| path.is_file());
    found.with_context(|| format!("there is no `{name}` beside {}: run `cargo build --bins`", own.display()))
}

/// The budget.
fn judge(report: &mut Report) {
    let subject = format!("{LB}, {JUDGED}");
    for path in PATHS {
        let Some(budget) = path.instructions() else { continue };
        if let Some(figure) = report.figure(Rig::C, path.name, &subject) {
            let value = (figure.median(), Unit::Instructions);
            report.check(Rig::C, path.name, value, Bound::AtMost(budget));
        }
    }
}
