//! `test`: everything that has to hold before a change is good, in the order in which failing is cheapest.

mod ring;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::{arch, build, process, setup, workspace};
use ring::{Counts, Ring};

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out rings 3 to 5, the labs, other kernels and benchmarks, which take minutes
    #[arg(long)]
    quick: bool,
    /// Run only the tests whose names contain this, and no lints
    filter: Option<String>,
}

/// Runs lints and tests, and prints what came of it.
///
/// # Errors
/// When anything fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    let tools = setup::everything()?;
    if !options.quick {
        setup::kernels()?;
    }
    process::run_without_warnings(&mut build::programs(&tools))?;
    build::run_binary(build::Options { release: false })?;
    if options.filter.is_none() {
        lints(&tools)?;
    }
    let mut total = Counts::default();
    let mut summary = Vec::new();
    for ring in Ring::ALL {
        let counts = ring::run(ring, options.quick, options.filter.as_deref())?;
        summary.push(format!("{ring}: {counts}"));
        total += counts;
    }
    println!("\n{}\n{total} in {} s", summary.join("\n"), started.elapsed().as_secs());
    if total.failed > 0 {
        bail!("{} tests failed", total.failed);
    }
    Ok(())
}

fn lints(tools: &setup::Tools) -> Result<()> {
    process::run(cargo().args(["fmt", "--all", "--check"]))?;
    arch::run()?;
    process::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    if tools.lints_bpf() {
        let mut clippy = tools.cargo_for_bpf("clippy");
        clippy.args(["--package", "lb-ebpf", "--release"]).arg("--target-dir").arg(workspace::bpf_target());
        process::run(clippy.args(["--", "--deny", "warnings"]))?;
    } else {
        eprintln!(
            "clippy for eBPF: this compiler comes without it; lb-ebpf was linted for the host, and compiled \
             for eBPF without a warning"
        );
    }
    Ok(())
}

fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root());
    command
}
