//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where cargo puts what it builds for the host.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path))
}

/// The packet programs' own target directory, so that neither build waits for the other.
pub(crate) fn bpf_target() -> PathBuf {
    root().join("target/bpf")
}

/// The object file with the packet programs. `lb-userspace/build.rs` looks for it there.
pub(crate) fn bpf_object() -> PathBuf {
    bpf_target().join("bpfel-unknown-none/release/lb")
}

/// Where tools are kept that take long to build: outside the tree, so that a fresh clone finds them.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: no place for the tools' cache")?;
    Ok(base.join("lb"))
}

/// The file that `name` runs, looked for as the shell does, and in the directories of root's tools.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}
