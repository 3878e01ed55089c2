//! `fuzz`: the readers of what others write, each under libFuzzer for a while. What it has learned is kept in
//! `target/fuzz`, and what a reader breaks on as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{build, process, setup, workspace};

/// What makes LLVM tell libFuzzer what a run has reached; a wrong sum or assertion ends it. No sanitizer: there is
/// no unsafe code in the readers.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Coverflow-checks";

/// With a target of its own, build scripts and macros go without these flags.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// The longest input, in bytes.
const LONGEST: &str = "-max_len=8192";
/// Seconds after which one input takes for ever.
const PATIENCE: &str = "-timeout=20";
/// Mebibytes after which one input takes too much.
const MEMORY: &str = "-rss_limit_mb=2048";

#[derive(Args)]
pub(crate) struct Options {
    /// Seconds over all targets
    #[arg(long, default_value_t = 120)]
    seconds: usize,
    /// Only this one, a directory of `tests/fuzz/seeds`
    target: Option<String>,
}

/// Fuzzes and prints what came of it.
///
/// # Errors
/// When something can't be built, or a reader breaks.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::fuzzer()?;
    let tools = setup::tools()?;
    process::run_without_warnings(&mut build::programs(&tools))?;
    let targets = targets(options.target.as_deref())?;
    let directory = workspace::target().join("fuzz");
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root().join("tests/fuzz")).env("RUSTFLAGS", FLAGS);
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").args(["build", "--target", HOST, "--target-dir"]);
    process::run(command.arg(&directory))?;
    let program = directory.join(HOST).join("debug/lb-fuzz");
    let seconds = (options.seconds / targets.len()).max(1);
    let mut broken = Vec::new();
    for target in &targets {
        let run = fuzz(&program, &directory, target, seconds)?;
        println!("{target}: {}", run.summary);
        broken.extend(run.findings);
    }
    if !broken.is_empty() {
        bail!("readers break on:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

fn seeds() -> PathBuf {
    workspace::root().join("tests/fuzz/seeds")
}

/// The names of the targets, in order.
fn targets(only: Option<&str>) -> Result<Vec<String>> {
    let directory = seeds();
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry.with_context(|| format!("list {}", directory.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let known = names.join(", ");
    names.retain(|name| only.is_none_or(|only| name == only));
    if names.is_empty() {
        bail!("there is no such target: use one of {known}");
    }
    Ok(names)
}

struct Run {
    summary: String,
    findings: Vec<String>,
}

fn fuzz(program: &Path, directory: &Path, target: &str, seconds: usize) -> Result<Run> {
    let (corpus, artifacts) =
        (directory.join("corpus").join(target), directory.join("findings").join(target));
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    let mut command = Command::new("nice");
    command
        .arg(program)
        .env("LB_FUZZ_TARGET", target)
        .args([format!("-max_total_time={seconds}"), format!("-artifact_prefix={}/", artifacts.display())])
        .args([LONGEST, PATIENCE, MEMORY, "-print_final_stats=1"])
        .args([&corpus, &seeds().join(target)])
        .stdin(Stdio::null());
    let output = command.output().with_context(|| format!("start {}", process::shown(&command)))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let mut findings = Vec::new();
    if !output.status.success() {
        let end: Vec<&str> = told.lines().rev().take(40).collect();
        eprintln!("{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
        let written = told.lines().filter_map(|line| line.split_once("Test unit written to "));
        findings.extend(written.map(|(_, path)| path.to_owned()));
        if findings.is_empty() {
            bail!("{} failed: {}", process::shown(&command), output.status);
        }
    }
    Ok(Run { summary: summary(&told, findings.len()), findings })
}

/// Executions, and places in the code that were reached at first and at last.
fn summary(told: &str, findings: usize) -> String {
    let after = |line: &str, word: &str| {
        let mut words = line.split_whitespace().skip_while(|other| *other != word);
        words.nth(1).unwrap_or("?").to_owned()
    };
    let last = |word: &str| {
        let line = told.lines().rev().find(|line| line.split_whitespace().any(|other| other == word));
        line.map_or_else(|| "?".to_owned(), |line| after(line, word))
    };
    let first =
        told.lines().find(|line| line.contains("INITED")).map_or("?".to_owned(), |l| after(l, "cov:"));
    let executions = last("stat::number_of_executed_units:");
    format!("{executions} executions, {first} → {} places reached, {findings} findings", last("cov:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_tells_is_summed_up() {
        let told = "#3\tINITED cov: 120 ft: 130 corp: 2/9b\n#9\tNEW    cov: 125 ft: 140 corp: 3/12b\n\
                    #50\tDONE   cov: 130 ft: 150 corp: 4/20b\nstat::number_of_executed_units: 50\n";
        assert_eq!(summary(told, 0), "50 executions, 120 → 130 places reached, 0 findings");
    }
}
