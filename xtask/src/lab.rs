//! `lab` and `demo`: prepares what labs need and hands over to the program that makes them, so that this one
//! stays light.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{build, process, setup, workspace};

#[derive(Args)]
pub(crate) struct Options {
    /// `--help` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Options {
    /// What was given, as it was.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Is nothing to be done but to explain it?
    pub(crate) fn asks_for_help(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--help" || argument == "-h")
    }
}

/// Runs `lab VERB …`; returns only if that can't be started.
///
/// # Errors
/// When something can't be prepared or started.
pub(crate) fn run(verb: &str, options: &Options) -> Result<()> {
    let starts_one = verb == "demo" || options.arguments.first().is_some_and(|first| first == "up");
    if starts_one && !options.asks_for_help() {
        process::require_root("labs are made of network namespaces")?;
        setup::everything()?;
        build::run(build::Options { release: false })?;
    }
    let mut command = Command::new("cargo");
    command
        .current_dir(workspace::root())
        .args(["run", "--quiet", "--package", "lb-tests", "--bin", "lab", "--", verb])
        .args(&options.arguments);
    // In place of this process: an interrupt must reach the lab, which cleans up, and be waited for.
    process::replace(&mut command)
}
