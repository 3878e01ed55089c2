//! What developers and CI run: `cargo xtask VERB`. One file per verb.

mod arch;
mod bench;
mod build;
mod fuzz;
mod lab;
mod load;
mod process;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Developer verbs of lb", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what builds and tests need; quick when nothing is missing
    Setup,
    /// Build the packet programs and the `lb` binary
    Build(build::Options),
    /// Build, and run the agent on this node for one uplink until ctrl-C
    Load(load::Options),
    /// Labs of network namespaces: up, down, status
    #[command(disable_help_flag = true)]
    Lab(lab::Options),
    /// A lab with a script: shows balancing, a failing server and a killed agent, and removes itself
    #[command(disable_help_flag = true)]
    Demo(lab::Options),
    /// Measure what packets and changes cost, beside what others take for it
    #[command(disable_help_flag = true)]
    Bench(lab::Options),
    /// Check the house rules: who may import what, names and lengths of files
    Arch,
    /// Give the readers of what others write whatever libFuzzer thinks of
    Fuzz(fuzz::Options),
    /// Lint and test everything; rings 2 and 3 need root
    Test(test::Options),
}

fn main() -> ExitCode {
    match run(&Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Setup => setup::everything().and_then(|_| setup::kernels()),
        Verb::Build(options) => build::run(*options).map(drop),
        Verb::Load(options) => load::run(options),
        Verb::Lab(options) => lab::run("lab", options),
        Verb::Demo(options) => lab::run("demo", options),
        Verb::Bench(options) => bench::run(options),
        Verb::Arch => arch::run(),
        Verb::Fuzz(options) => fuzz::run(options),
        Verb::Test(options) => test::run(options),
    }
}
