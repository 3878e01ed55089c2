//! What a person watches while it goes on: a line for each step, and what it took.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Instant;

use anyhow::Result;

/// Does one step, whose line turns from `…` into `✓` or `✗`. `work` returns its result and what to say of it.
///
/// # Errors
/// Those of `work`.
pub(crate) fn step<T>(label: &str, work: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
    let terminal = stdout().is_terminal();
    if terminal {
        print!("  … {label}");
        // A line that can't be shown is no reason to stop.
        let _ = stdout().flush();
    }
    let started = Instant::now();
    let outcome = work();
    let clear = if terminal { "\r\x1b[K" } else { "" };
    let seconds = started.elapsed().as_secs_f64();
    match &outcome {
        Ok((_, said)) if said.is_empty() => println!("{clear}  {} {label} ({seconds:.1} s)", mark(true)),
        Ok((_, said)) => println!("{clear}  {} {label}: {said} ({seconds:.1} s)", mark(true)),
        Err(_) => println!("{clear}  {} {label} ({seconds:.1} s)", mark(false)),
    }
    outcome.map(|(result, _)| result)
}

/// A check mark or a cross, coloured on a terminal.
pub(crate) fn mark(good: bool) -> &'static str {
    match (good, stdout().is_terminal()) {
        (true, true) => "\x1b[32m✓\x1b[0m",
        (false, true) => "\x1b[31m✗\x1b[0m",
        (true, false) => "✓",
        (false, false) => "✗",
    }
}

/// A heading, bold on a terminal.
pub(crate) fn heading(text: &str) {
    if stdout().is_terminal() {
        println!("\n\x1b[1m{text}\x1b[0m");
    } else {
        println!("\n{text}");
    }
}
