//! Kernels to boot, as `cargo xtask setup` leaves them in its cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The variable that names another directory of kernels.
const DIRECTORY: &str = "LB_KERNELS";

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    directory: PathBuf,
}

impl Kernel {
    /// The kernel of a series, such as `6.1`.
    ///
    /// # Errors
    /// Says where it was looked for, and why it is not there if that is known.
    pub fn find(series: &str) -> Result<Self, String> {
        let kernels = env::var_os(DIRECTORY).map(PathBuf::from).or_else(cache);
        let kernels = kernels.ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
        let kernel = Self { directory: kernels.join(series) };
        if kernel.image().is_file() {
            return Ok(kernel);
        }
        let why = fs::read_to_string(kernels.join(format!("{series}.missing")));
        let why = why.unwrap_or_else(|_| "run `cargo xtask setup`".to_owned());
        Err(format!("no Linux {series} in {}: {}", kernels.display(), why.trim()))
    }

    /// What QEMU boots.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The modules that other balancers take besides, in the order in which they are loaded.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn peers(&self) -> Result<Vec<PathBuf>> {
        files(&self.directory.join("peers"))
    }

    /// The modules of a VM with a network and a guest agent, in the order in which they are loaded.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn of_vm(&self) -> Result<Vec<PathBuf>> {
        files(&self.directory.join("vm"))
    }

    /// The modules, in the order in which they are loaded.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn modules(&self) -> Result<Vec<PathBuf>> {
        files(&self.directory.join("modules"))
    }
}

/// The files of a directory, sorted.
///
/// # Errors
/// When they can't be listed.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
    });
    let mut files = listed.with_context(|| format!("list {}", directory.display()))?;
    files.sort();
    Ok(files)
}

fn cache() -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("lb/kernels"))
}
