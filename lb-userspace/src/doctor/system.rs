//! The door to the system: files and tools.

use std::io;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// What checks may ask of the system.
pub trait System {
    /// A file's text.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&self, path: &str) -> io::Result<String>;

    /// What a tool prints.
    ///
    /// # Errors
    /// When it is not there or fails.
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<String>;

    /// How far in the future a file was last changed; `None` for a file that is not there, or is in the past.
    fn ahead(&self, path: &str) -> Option<Duration>;
}

/// The system that this process runs on, in its own network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Node;

impl System for Node {
    fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<String> {
        // Root's tools are not on everybody's search path.
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let output = Command::new(program).args(arguments).env("PATH", path).env("LC_ALL", "C").output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn ahead(&self, path: &str) -> Option<Duration> {
        let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
        changed.duration_since(SystemTime::now()).ok().filter(|ahead| !ahead.is_zero())
    }
}

/// A setting below `/proc/sys`, as a number.
pub(super) fn setting(system: &dyn System, name: &str) -> Option<i64> {
    system.read(&format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}
