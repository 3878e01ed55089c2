//! schemathesis, as the Python package index has it: it sends the API whatever its OpenAPI document allows, and what
//! it does not. Kept with all that it needs in a virtual environment outside the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::packages::{self, Package};
use crate::{process, workspace};

/// The packages and their versions.
const REQUIREMENTS: &str = include_str!("schemathesis.txt");

const PACKAGES: [Package; 2] = [
    Package::program("python3", "python3"),
    // Debian's Python brings the module without what it needs.
    Package::file("/usr/share/doc/python3-venv", "python3-venv"),
];

/// Fetches it if it is missing. What is in the way is told, and left where the tests, which skip themselves, find
/// the reason.
///
/// # Errors
/// When the cache can't be written.
pub(super) fn fetch() -> Result<()> {
    let directory = workspace::cache()?.join("schemathesis");
    let reason = directory.with_extension("missing");
    if is_there(&directory) {
        return Ok(());
    }
    match install(&directory) {
        Ok(()) if reason.exists() => {
            fs::remove_file(&reason).with_context(|| format!("remove {}", reason.display()))
        }
        Ok(()) => Ok(()),
        Err(error) => {
            eprintln!("no schemathesis to test with: {error:#}");
            // Half of it would look like all of it.
            drop(fs::remove_dir_all(&directory));
            fs::write(&reason, format!("{error:#}")).with_context(|| format!("write {}", reason.display()))
        }
    }
}

/// The list of what is installed is written last.
fn is_there(directory: &Path) -> bool {
    fs::read_to_string(installed(directory)).is_ok_and(|text| text == REQUIREMENTS)
}

fn installed(directory: &Path) -> PathBuf {
    directory.join("installed.txt")
}

fn install(directory: &Path) -> Result<()> {
    packages::install(&PACKAGES)?;
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    let mut create = Command::new("python3");
    process::run_quietly(
        "making a Python environment for schemathesis",
        create.args(["-m", "venv"]).arg(directory),
    )?;
    let requirements = directory.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).with_context(|| format!("write {}", requirements.display()))?;
    let mut pip = Command::new(directory.join("bin/pip"));
    pip.args(["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--requirement"])
        .arg(&requirements);
    process::run_quietly("installing schemathesis", &mut pip)?;
    let list = installed(directory);
    fs::copy(&requirements, &list).with_context(|| format!("write {}", list.display())).map(drop)
}
