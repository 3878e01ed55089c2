//! `bench`: prepares what benchmarks need, and hands over to the program that runs them.

use std::process::Command;

use anyhow::Result;

use crate::lab::Options;
use crate::{build, process, setup, workspace};

/// Runs the benchmarks; returns only if they can't be started.
///
/// # Errors
/// When something can't be prepared or started.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.asks_for_help() && !shows_a_file(options) {
        process::require_root("benchmarks load packet programs")?;
        setup::everything()?;
        setup::kernels()?;
        build::run(build::Options { release: true })?;
        // Machines that are emulated have a program of their own.
        let mut guest = Command::new("cargo");
        guest.current_dir(workspace::root()).args(["build", "--quiet", "--release", "--package", "lb-tests"]);
        process::run(guest.arg("--bins"))?;
    }
    let mut command = Command::new("cargo");
    command
        .current_dir(workspace::root())
        .args(["run", "--quiet", "--release", "--package", "lb-tests", "--bin", "bench", "--"])
        .args(options.arguments());
    process::replace(&mut command)
}

/// Is nothing to be measured?
fn shows_a_file(options: &Options) -> bool {
    options.arguments().iter().any(|argument| argument == "--from" || argument.starts_with("--from="))
}
