//! What was measured, in one run, and whether it is within the budget.

use std::fmt;
use std::fs;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::{Deserialize, Serialize};

use super::grid::Grid;

/// Where something was measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum, Debug)]
#[serde(rename_all = "camelCase")]
pub enum Rig {
    /// The packet program alone, by test runs of the kernel.
    A,
    /// Packets and connections between network namespaces.
    B,
    /// Instructions, counted by an emulated machine.
    C,
    /// The agent with many objects.
    Control,
}

impl fmt::Display for Rig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::A => "A, the program alone",
            Self::B => "B, end to end",
            Self::C => "C, without noise",
            Self::Control => "control plane",
        })
    }
}

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Instructions of the processor.
    Instructions,
    /// Millions of packets a second.
    MillionPackets,
    /// Something a second.
    PerSecond,
    /// Gigabits a second.
    Gigabits,
    /// Bytes.
    Bytes,
    /// Mebibytes.
    Mebibytes,
    /// Hundredths.
    Percent,
    /// One number by another.
    Ratio,
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Instructions => "instructions",
            Self::MillionPackets => "Mpps",
            Self::PerSecond => "/s",
            Self::Gigabits => "Gb/s",
            Self::Bytes => "B",
            Self::Mebibytes => "MiB",
            Self::Percent => "%",
            Self::Ratio => "×",
        })
    }
}

/// One subject on one path, measured several times.
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// Where.
    pub rig: Rig,
    /// What was done: the row.
    pub path: String,
    /// By whom: the column.
    pub subject: String,
    /// What the samples count.
    pub unit: Unit,
    /// One number for each round, in their order. All subjects of a path had their turn in each round.
    pub samples: Vec<f64>,
}

impl Figure {
    /// The sample in the middle; not a number if there is none.
    pub fn median(&self) -> f64 {
        quantile(&self.samples, 0.5)
    }

    /// A quarter of the samples is below.
    pub fn lower(&self) -> f64 {
        quantile(&self.samples, 0.25)
    }

    /// A quarter of the samples is above.
    pub fn upper(&self) -> f64 {
        quantile(&self.samples, 0.75)
    }
}

/// The sample at a fraction of all when they are sorted, by the nearest rank; not a number if there is none.
pub fn quantile(samples: &[f64], fraction: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * fraction).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The median over the rounds of one subject's sample by another's of the same round.
pub fn paired(above: &[f64], below: &[f64]) -> f64 {
    let ratios: Vec<f64> = above.iter().zip(below).map(|(above, below)| above / below).collect();
    quantile(&ratios, 0.5)
}

/// What a number may be.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// This, or less.
    AtMost(f64),
    /// This, or more.
    AtLeast(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(formatter, "≤ {}", number(*bound)),
            Self::AtLeast(bound) => write!(formatter, "≥ {}", number(*bound)),
        }
    }
}

/// A row of the budget.
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Where.
    pub rig: Rig,
    /// Of what.
    pub claim: String,
    /// What it came to.
    pub value: f64,
    /// In this unit.
    pub unit: Unit,
    /// What it may come to.
    pub bound: Bound,
}

impl Check {
    /// The number that is not to be passed.
    pub fn limit(&self) -> f64 {
        match self.bound {
            Bound::AtMost(bound) | Bound::AtLeast(bound) => bound,
        }
    }

    /// Is the budget kept? What is not a number does not.
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.value <= bound,
            Bound::AtLeast(bound) => self.value >= bound,
        }
    }
}

/// All of a run.
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name, and how many there are.
    pub machine: String,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What that has to be.
    pub checks: Vec<Check>,
    /// What was not measured, and why.
    pub skipped: Vec<String>,
    /// What else a reader has to know of the figures.
    #[serde(default)]
    pub noted: Vec<String>,
}

impl Report {
    /// Of this machine, still empty.
    pub fn new() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let names = cpus.lines().filter(|line| line.starts_with("model name"));
        let name = names.clone().next().and_then(|line| line.split_once(": ")).map_or("", |(_, name)| name);
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            machine: format!("{} × {name}", names.count()),
            figures: Vec::new(),
            checks: Vec::new(),
            skipped: Vec::new(),
            noted: Vec::new(),
        }
    }

    /// Adds a subject's samples.
    pub fn add(&mut self, rig: Rig, path: &str, subject: &str, unit: Unit, samples: Vec<f64>) {
        self.figures.push(Figure { rig, path: path.to_owned(), subject: subject.to_owned(), unit, samples });
    }

    /// Adds a row of the budget.
    pub fn check(&mut self, rig: Rig, claim: &str, (value, unit): (f64, Unit), bound: Bound) {
        self.checks.push(Check { rig, claim: claim.to_owned(), value, unit, bound });
    }

    /// What a subject took on a path.
    pub fn figure(&self, rig: Rig, path: &str, subject: &str) -> Option<&Figure> {
        self.figures.iter().find(|one| one.rig == rig && one.path == path && one.subject == subject)
    }

    /// The rows of the budget that are not kept.
    pub fn missed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.is_met())
    }

    /// A table for each rig and unit: paths in rows, subjects in columns; then the budget.
    pub fn tables(&self) -> String {
        let mut text = format!("kernel {}, {}\n", self.kernel, self.machine);
        for grid in self.grids() {
            text += &format!("\n{}\n{}\n", grid.title, grid.table());
        }
        if !self.checks.is_empty() {
            text += &format!("\nBudget\n{}\n", self.budget());
        }
        for skipped in &self.skipped {
            text += &format!("not measured: {skipped}\n");
        }
        for noted in &self.noted {
            text += &format!("noted: {noted}\n");
        }
        text
    }

    /// The figures of each rig and unit.
    pub(super) fn grids(&self) -> Vec<Grid<'_>> {
        let mut kinds: Vec<(Rig, Unit)> = Vec::new();
        for figure in &self.figures {
            if !kinds.contains(&(figure.rig, figure.unit)) {
                kinds.push((figure.rig, figure.unit));
            }
        }
        let grid = |(rig, unit)| {
            let figures = self.figures.iter().filter(move |one| (one.rig, one.unit) == (rig, unit));
            Grid::new(format!("Rig {rig}: {unit}, median (quartiles)"), figures)
        };
        kinds.into_iter().map(grid).collect()
    }

    fn budget(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["", "RIG", "CLAIM", "VALUE", "BUDGET", "UNIT"]);
        for check in &self.checks {
            let verdict = if check.is_met() { "✓" } else { "✗ missed" };
            let rig = format!("{:?}", check.rig);
            let value = number(check.value);
            let (bound, unit) = (check.bound.to_string(), check.unit.to_string());
            table.add_row([verdict, &rig, &check.claim, &value, &bound, &unit]);
        }
        table
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

/// Three digits or so.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 || size == 0.0 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new();
        report.add(Rig::A, "established", "lb", Unit::Nanoseconds, vec![40.0, 44.0, 42.0]);
        report.add(Rig::A, "established", "others", Unit::Nanoseconds, vec![80.0, 99.0, 90.0]);
        report
    }

    #[test]
    fn quantiles_are_samples_at_their_rank() {
        let samples = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|fraction| quantile(&samples, fraction)), [1.0, 2.0, 3.0, 5.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was twice as slow for both.
        assert_eq!(paired(&[10.0, 20.0, 10.0], &[5.0, 10.0, 5.0]), 2.0);
    }

    #[test]
    fn a_budget_is_kept_up_to_its_bound_and_by_numbers_only() {
        let mut report = report();
        for (value, bound) in [
            (50.0, Bound::AtMost(50.0)),
            (50.1, Bound::AtMost(50.0)),
            (0.9, Bound::AtLeast(1.0)),
            (f64::NAN, Bound::AtMost(1.0)),
            (f64::NAN, Bound::AtLeast(1.0)),
        ] {
            report.check(Rig::A, "a claim", (value, Unit::Nanoseconds), bound);
        }
        let met: Vec<bool> = report.checks.iter().map(Check::is_met).collect();
        assert_eq!(met, [true, false, false, false, false]);
        assert_eq!(report.missed().count(), 4);
    }

    #[test]
    fn tables_have_medians_beside_each_other() {
        let text = report().tables();
        let row = text.lines().find(|line| line.contains("established")).expect("a row");
        assert!(row.contains("42.0 (42.0–44.0)") && row.contains("90.0 (90.0–99.0)"), "{text}");
    }

    #[test]
    fn what_was_noted_is_told() {
        let mut report = report();
        report.noted.push("others: 1 of 1000 failed".to_owned());
        assert!(report.tables().ends_with("noted: others: 1 of 1000 failed\n"));
    }

    #[test]
    fn a_run_without_notes_is_understood() {
        let mut written = serde_json::to_value(report()).unwrap();
        written.as_object_mut().unwrap().remove("noted");
        assert!(serde_json::from_value::<Report>(written).unwrap().noted.is_empty());
    }
}
