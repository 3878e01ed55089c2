//! Tests that can't run here say why, and are counted.

use std::env;
use std::fs::File;
use std::io::Write as _;
use std::thread;

/// The variable that names the file in which `cargo xtask test` looks for skipped tests.
const FILE: &str = "LB_TEST_SKIPS";

/// Notes that the running test skips itself. Call it once, with what is missing and how that was seen, and
/// return.
///
/// # Panics
/// When the note can't be made: a skipped test must not pass for one that ran.
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("unnamed").to_owned();
    eprintln!("skipped {test}: {reason}");
    if let Some(path) = env::var_os(FILE) {
        let mut file = File::options().append(true).open(path).expect("the file of skipped tests");
        writeln!(file, "{test}: {}", reason.replace('\n', " ")).expect("note the skipped test");
    }
}
