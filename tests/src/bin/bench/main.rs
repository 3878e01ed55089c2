//! The benchmarks. `cargo xtask bench` runs this.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use lb_tests::bench::report::{Report, Rig};
use lb_tests::bench::{Effort, alone, control, emulated, markdown, plot, traffic};

/// What a packet and a change cost, beside what others take for it
#[derive(Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", version)]
struct Cli {
    /// Only this rig; may be given several times [default: all]
    #[arg(long, value_enum)]
    rig: Vec<Rig>,
    /// Only paths of rigs A and B whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    path: String,
    /// Rounds of rig A, 1 to 10,000
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rounds: u16,
    /// Fewer rounds and smaller tables: minutes instead of tens of them, and no verdict on times
    #[arg(long)]
    quick: bool,
    /// Write what was measured to a file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw pictures of what was measured into this directory
    #[arg(long, value_name = "DIRECTORY")]
    plot: Option<PathBuf>,
    /// Print Markdown: tables, and links to the pictures that are drawn
    #[arg(long)]
    markdown: bool,
    /// Measure nothing: show what an earlier run has written with --json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rig", "path", "rounds", "quick", "json"])]
    from: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if let Some(path) = &cli.from {
        let needed = || format!("read {}: it has to be what --json has written", path.display());
        let text = fs::read_to_string(path).with_context(needed)?;
        let report = serde_json::from_str(&text).with_context(needed)?;
        return show(cli, &report);
    }
    ensure!(nix::unistd::geteuid().is_root(), "benchmarks load packet programs, which needs root");
    has_room(cli)?;
    let (mut report, mut failed) = (Report::new(), Vec::new());
    let effort = if cli.quick { Effort::Quick } else { Effort::Full };
    let all = [Rig::A, Rig::B, Rig::C, Rig::Control];
    for rig in all.into_iter().filter(|rig| cli.rig.is_empty() || cli.rig.contains(rig)) {
        eprintln!("rig {rig}");
        let report = &mut report;
        let outcome = match rig {
            Rig::A => alone::run(report, effort, &cli.path, cli.rounds.into()),
            Rig::B => traffic::run(report, effort, &cli.path),
            Rig::C => emulated::run(report, effort),
            Rig::Control => control::run(report, effort),
        };
        // What the rigs before have measured is worth minutes.
        if let Err(error) = outcome {
            eprintln!("rig {rig} failed: {error:#}");
            failed.push(rig.to_string());
        }
    }
    ensure!(
        !failed.is_empty() || !report.figures.is_empty() || !report.skipped.is_empty(),
        "nothing was measured: no path of these rigs has \"{}\" in its name",
        cli.path
    );
    if let Some(path) = &cli.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))?;
    }
    show(cli, &report)?;
    ensure!(failed.is_empty(), "these rigs failed: {}", failed.join(", "));
    match report.missed().count() {
        0 => Ok(()),
        missed => bail!("{missed} rows of the budget are missed"),
    }
}

/// Can be written what is to be written? Better asked before than after twenty minutes; an earlier run's file is kept
/// until there is another.
fn has_room(cli: &Cli) -> Result<()> {
    if let Some(path) = &cli.json {
        let opened = fs::File::options().create(true).append(true).open(path);
        opened.with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(directory) = &cli.plot {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    Ok(())
}

fn show(cli: &Cli, report: &Report) -> Result<()> {
    let directory = cli.plot.as_deref();
    let pictures = directory.map(|directory| plot::draw(report, directory)).transpose()?.unwrap_or_default();
    if cli.markdown {
        let name = directory.and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        print!("{}", markdown::page(report, &pictures, &name));
    } else {
        print!("{}", report.tables());
    }
    Ok(())
}
