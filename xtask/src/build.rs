//! `build`: the packet programs, then the binary that embeds them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{process, setup, workspace};

#[derive(Args, Clone, Copy)]
pub(crate) struct Options {
    /// Optimise the `lb` binary (the packet programs always are)
    #[arg(long)]
    pub(crate) release: bool,
}

/// Builds everything and returns the path of the `lb` binary.
///
/// # Errors
/// When a tool is missing or a crate does not compile.
pub(crate) fn run(options: Options) -> Result<PathBuf> {
    let tools = setup::tools()?;
    process::run(&mut programs(&tools))?;
    run_binary(options)
}

/// Builds the `lb` binary over packet programs that are built already, and returns its path.
///
/// # Errors
/// When it does not compile.
pub(crate) fn run_binary(options: Options) -> Result<PathBuf> {
    process::run(&mut binary(options))?;
    let profile = if options.release { "release" } else { "debug" };
    let path = workspace::target().join(profile).join("lb");
    eprintln!("packet programs: {}\nbinary:          {}", workspace::bpf_object().display(), path.display());
    Ok(path)
}

/// The command that compiles the packet programs.
pub(crate) fn programs(tools: &setup::Tools) -> Command {
    let mut command = tools.cargo_for_bpf("build");
    command.args(["--package", "lb-ebpf", "--release"]).arg("--target-dir").arg(workspace::bpf_target());
    command
}

fn binary(options: Options) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()).args(["build", "--package", "lb-userspace"]);
    if options.release {
        command.arg("--release");
    }
    command
}
