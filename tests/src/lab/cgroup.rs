//! A cgroup for a lab's processes of the node: the root of the file system belongs to the whole machine.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::namespace::Namespace;

/// Where the cgroup2 file system is mounted, if it is.
pub fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines.find_map(|fields| match fields[..] {
        [_, point, "cgroup2", ..] => Some(PathBuf::from(point)),
        _ => None,
    })
}

/// Creates a cgroup.
///
/// # Errors
/// When the file system refuses.
pub fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))
}

/// Removes a cgroup whose processes have ended, if there is one.
///
/// # Errors
/// When it is in use.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A command that runs in a network namespace and in a cgroup.
pub fn command(namespace: &Namespace, cgroup: &Path, program: &str) -> Command {
    let mut command = namespace.command("sh");
    command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(cgroup).arg(program);
    command
}
