//! The rings of tests, and their counts.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::num::NonZero;
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{process, workspace};

/// The variable that names the file into which tests write why they skip themselves.
const SKIPS: &str = "LB_TEST_SKIPS";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ring {
    /// Pure functions and layouts; no privileges.
    Pure,
    /// One program, one packet, through `BPF_PROG_TEST_RUN`.
    Program,
    /// Network namespaces with real clients and servers.
    Lab,
    /// The agent on other kernels, in emulated machines.
    Kernels,
    /// Benchmarks in short, for what they do and not for how long it takes.
    Figures,
}

impl Ring {
    pub(super) const ALL: [Self; 5] = [Self::Pure, Self::Program, Self::Lab, Self::Kernels, Self::Figures];

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Pure => &["--workspace", "--lib", "--bins"],
            Self::Program => &["--package", "lb-tests", "--test", "program"],
            Self::Lab => &["--package", "lb-tests", "--test", "lab"],
            Self::Kernels => &["--package", "lb-tests", "--test", "kernels"],
            Self::Figures => &["--package", "lb-tests", "--test", "figures"],
        }
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pure => "ring 1 (pure functions)",
            Self::Program => "ring 2 (packet programs)",
            Self::Lab => "ring 3 (labs)",
            Self::Kernels => "ring 4 (kernels)",
            Self::Figures => "ring 5 (benchmarks in short)",
        })
    }
}

/// How many tests ended how.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Runs a ring, or counts its tests as skipped and says why.
///
/// # Errors
/// When its tests can't be built or counted; failing tests are counted.
pub(super) fn run(ring: Ring, quick: bool, filter: Option<&str>) -> Result<Counts> {
    println!("\n── {ring}");
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()).args(["test", "--no-fail-fast"]).args(ring.arguments());
    command.arg("--").args(filter);
    if ring == Ring::Lab {
        // Labs wait more than they compute.
        let processors = thread::available_parallelism().map_or(2, NonZero::get);
        command.arg(format!("--test-threads={}", processors.saturating_add(1)));
    }
    if ring == Ring::Figures {
        // Each has the node to itself.
        command.arg("--test-threads=1");
    }
    if let Some(excuse) = excuse(ring, quick) {
        let listed = process::output(command.arg("--list"))?;
        let skipped = listed.lines().filter(|line| line.ends_with(": test")).count();
        println!("skipped, all {skipped} tests: {excuse}");
        return Ok(Counts { skipped, ..Counts::default() });
    }
    counted(&mut command, ring)
}

/// Why a ring can't run here, or shall not.
fn excuse(ring: Ring, quick: bool) -> Option<String> {
    match ring {
        Ring::Lab | Ring::Kernels | Ring::Figures if quick => Some("--quick leaves it out".to_owned()),
        Ring::Program | Ring::Lab | Ring::Figures if !process::is_root() => Some("it needs root".to_owned()),
        Ring::Pure | Ring::Program | Ring::Kernels => None,
        Ring::Lab | Ring::Figures => {
            no_namespaces().map(|error| format!("no network namespaces here: {error}"))
        }
    }
}

/// Tries to make a network namespace; the error, should that fail, as in some containers.
fn no_namespaces() -> Option<String> {
    let name = format!("lb-try-{}", std::process::id());
    let ip = |verb| Command::new("ip").args(["netns", verb, &name]).output();
    match ip("add") {
        Ok(output) if output.status.success() => ip("delete").err().map(|error| error.to_string()),
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn counted(command: &mut Command, ring: Ring) -> Result<Counts> {
    let started = Instant::now();
    let skips = workspace::target().join("test-skips.txt");
    fs::write(&skips, "").with_context(|| format!("empty {}", skips.display()))?;
    let mut child = command
        .env(SKIPS, &skips)
        // A panic's backtrace says where; an error's inside it only buries the message.
        .env("RUST_LIB_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", process::shown(command)))?;
    let stdout = child.stdout.take().context("the tests' output")?;
    let mut counts = Counts::default();
    let mut results = 0_usize;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read the tests' output")?;
        println!("{line}");
        if let Some(more) = parse(&line) {
            counts += more;
            results += 1;
        }
    }
    let status = child.wait().context("wait for the tests")?;
    let reasons = skipped(&skips)?;
    counts.passed = counts.passed.saturating_sub(reasons.len());
    counts.skipped += reasons.len();
    for reason in &reasons {
        println!("skipped {reason}");
    }
    println!("{ring}: {counts} ({} s)", started.elapsed().as_secs());
    if results == 0 || (!status.success() && counts.failed == 0) {
        bail!("{} failed before its tests could be counted: {status}", process::shown(command));
    }
    Ok(counts)
}

/// `NAME: REASON`, one for each test that skipped itself; a test with several parts may say it for each.
fn skipped(path: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The counts in a line like `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; …`.
fn parse(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |noun: &str| {
        rest.split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(noun)?.trim().parse::<usize>().ok())
            .unwrap_or(0)
    };
    Some(Counts { passed: number("passed"), failed: number("failed"), skipped: number("ignored") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.2s";
        assert_eq!(parse(line), Some(Counts { passed: 12, failed: 3, skipped: 1 }));
        assert_eq!(parse("test net::tests::ports ... ok"), None);
    }
}
