//! Other programs: run, watched, and quoted when they fail.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(100);

/// How often a line is printed where there is no terminal to draw on.
const REMIND: Duration = Duration::from_secs(30);

/// The lines of a failed program's output that are shown.
const TAIL: usize = 40;

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Refuses to go on without root.
///
/// # Errors
/// When this process is not root; the text says what to run.
pub(crate) fn require_root(reason: &str) -> Result<()> {
    if !is_root() {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        bail!(
            "{reason}: this needs root; run `sudo -E env PATH=\"$PATH\" cargo xtask {}`",
            arguments.join(" ")
        );
    }
    Ok(())
}

/// Runs a command in place of this process; returns only if it can't be started.
///
/// # Errors
/// Always, if it returns.
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    Err(error).with_context(|| format!("start {}", shown(command)))
}

/// Runs a command in the foreground.
///
/// # Errors
/// When it can't be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", shown(command)))?;
    check(command, status)
}

/// Runs a cargo command in the foreground; a warning of the compiler is an error. Cargo repeats the warnings
/// of what is built already, so an earlier build hides none.
///
/// # Errors
/// When it can't be started, fails or warns.
pub(crate) fn run_without_warnings(command: &mut Command) -> Result<()> {
    let output =
        command.stdout(Stdio::inherit()).output().with_context(|| format!("start {}", shown(command)))?;
    let text = String::from_utf8_lossy(&output.stderr);
    eprint!("{text}");
    check(command, output.status)?;
    if text.lines().any(|line| line.starts_with("warning: ")) {
        bail!("{} warns", shown(command));
    }
    Ok(())
}

/// Runs a command and returns what it prints.
///
/// # Errors
/// When it can't be started, fails, or prints something else than text.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("start {}", shown(command)))?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("the output of {}", shown(command)))
}

/// Runs something long: shows `label` and the seconds gone, keeps the output in a log, and shows the log's
/// end if it fails.
///
/// # Errors
/// When it can't be started or fails.
pub(crate) fn run_quietly(label: &str, command: &mut Command) -> Result<()> {
    let directory = workspace::target();
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let path = directory.join("xtask.log");
    let log = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stderr(log.try_clone().context("share the log")?)
        .stdout(log)
        .spawn()
        .with_context(|| format!("start {}", shown(command)))?;
    let mut progress = Progress::start(label);
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("wait for {}", shown(command)))? {
            break status;
        }
        progress.tick();
        sleep(POLL);
    };
    progress.end(status.success());
    if !status.success() {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("{}", lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n"));
    }
    check(command, status)
}

/// What a person would type for this command.
pub(crate) fn shown(command: &Command) -> String {
    let quote = |text: &OsStr| {
        let text = text.to_string_lossy();
        if text.contains([' ', '"', '$']) { format!("'{text}'") } else { text.into_owned() }
    };
    std::iter::once(command.get_program()).chain(command.get_args()).map(quote).collect::<Vec<_>>().join(" ")
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// A line on standard error that says that something goes on.
struct Progress<'a> {
    label: &'a str,
    started: Instant,
    shown: Instant,
    frame: usize,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn start(label: &'a str) -> Self {
        let now = Instant::now();
        let terminal = stderr().is_terminal();
        if !terminal {
            eprintln!("{label} …");
        }
        Self { label, started: now, shown: now, frame: 0, terminal }
    }

    fn tick(&mut self) {
        const FRAMES: [char; 8] = ['⣾', '⣽', '⣻', '⢿', '⡿', '⣟', '⣯', '⣷'];
        let seconds = self.started.elapsed().as_secs();
        if self.terminal {
            self.frame = (self.frame + 1) % FRAMES.len();
            let frame = FRAMES.get(self.frame).unwrap_or(&' ');
            eprint!("\r\x1b[K{frame} {} ({seconds} s)", self.label);
            // A progress line that can't be shown is no reason to stop.
            drop(stderr().flush());
        } else if self.shown.elapsed() >= REMIND {
            self.shown = Instant::now();
            eprintln!("{} … {seconds} s", self.label);
        }
    }

    fn end(&self, success: bool) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let mark = if success { "✓" } else { "✗" };
        eprintln!("{clear}{mark} {} ({:.1} s)", self.label, self.started.elapsed().as_secs_f64());
    }
}
