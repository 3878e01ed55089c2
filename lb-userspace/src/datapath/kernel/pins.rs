//! The pin directory: what outlives the agent.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lb_common::map;
use nix::mount::MsFlags;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::error::KernelError;
use super::raw;

/// Where BPF file systems are mounted.
const BPFFS: &str = "/sys/fs/bpf";

/// Paths below the pin directory, of this ABI version.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Nothing is touched yet.
    pub(super) fn new(pin_directory: &Path) -> Self {
        Self { root: pin_directory.join(map::ABI_VERSION.to_string()) }
    }

    /// Makes the directories; mounts the BPF file system where the system has none.
    pub(super) fn create(&self) -> Result<(), KernelError> {
        mount_bpffs(&self.root)?;
        for directory in [self.root.clone(), self.programs(), self.links()] {
            fs::create_dir_all(&directory).map_err(pin("create directory", &directory))?;
        }
        Ok(())
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    pub(super) fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// The names of all pinned links.
    pub(super) fn link_names(&self) -> Result<Vec<String>, KernelError> {
        let names = entries(&self.links())?.into_iter();
        Ok(names.filter_map(|path| path.file_name().and_then(OsStr::to_str).map(str::to_owned)).collect())
    }
}

/// Detaches a pinned link and removes its pin; one that is not there is gone already.
pub(super) fn remove_link(path: &Path) -> Result<(), KernelError> {
    match raw::detach_link(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Its interface is gone, or this kernel lets go of such links in its own time only.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOLINK | libc::EOPNOTSUPP)) => {}
        Err(error) => return Err(pin("detach", path)(error)),
    }
    remove(path)
}

/// Removes whatever is pinned below the directory, of all ABI versions: links first, so that no program runs
/// without its maps. No program is attached any more when this returns. Says whether there was anything.
pub(super) fn remove_all(pin_directory: &Path) -> Result<bool, KernelError> {
    let mut found = false;
    for version in entries(pin_directory)?.into_iter().filter(|path| is_version(path)) {
        found = true;
        for link in entries(&version.join("links"))? {
            remove_link(&link)?;
        }
        for directory in [version.join("links"), version.join("programs"), version] {
            for file in entries(&directory)? {
                fs::remove_file(&file).map_err(pin("remove", &file))?;
            }
            match fs::remove_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(pin("remove directory", &directory))?,
            }
        }
    }
    if found && pin_directory != Path::new(BPFFS) {
        fs::remove_dir(pin_directory).map_err(pin("remove directory", pin_directory))?;
    }
    Ok(found)
}

fn is_version(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.parse::<u32>().is_ok())
}

/// What is in a directory; nothing, if it does not exist.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(pin("list", directory))?,
    };
    listing.map(|entry| Ok(entry.map_err(pin("list", directory))?.path())).collect()
}

/// Replaces a file in one step.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), KernelError> {
    fs::rename(from, to).map_err(pin("replace", to))
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), KernelError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(pin("remove", path)),
    }
}

fn pin<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> KernelError + 'a {
    move |source| KernelError::Pin { operation, path: path.to_owned(), source }
}

fn mount_bpffs(root: &Path) -> Result<(), KernelError> {
    if is_on_bpffs(root) {
        return Ok(());
    }
    let bpffs = Path::new(BPFFS);
    if !root.starts_with(bpffs) {
        return Err(KernelError::NotOnBpffs(root.to_owned()));
    }
    nix::mount::mount(Some("bpf"), bpffs, Some("bpf"), MsFlags::empty(), None::<&str>)
        .map_err(|errno| KernelError::MountBpffs { path: bpffs.to_owned(), source: errno.into() })
}

/// Of the path's nearest ancestor that exists.
fn is_on_bpffs(path: &Path) -> bool {
    let status = path.ancestors().find_map(|ancestor| statfs(ancestor).ok());
    status.is_some_and(|status| status.filesystem_type() == BPF_FS_MAGIC)
}
