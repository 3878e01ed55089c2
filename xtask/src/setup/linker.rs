//! bpf-linker, built once against Debian's LLVM and kept outside the tree.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::packages::{self, Package};
use crate::{process, workspace};

const VERSION: &str = "0.13.0";

/// The major version of the LLVM that it links. At least the compiler's, which writes what this reads.
pub(super) const LLVM: u32 = 22;

const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

const PACKAGES: [Package; 5] = [
    Package::file("/usr/lib/llvm-22/lib/libLLVM.so", "llvm-22-dev"),
    Package::file("/usr/lib/llvm-22/lib/libPolly.a", "libpolly-22-dev"),
    Package::file("/usr/include/zlib.h", "zlib1g-dev"),
    Package::file("/usr/include/zstd.h", "libzstd-dev"),
    Package::program("c++", "g++"),
];

pub(super) struct Linker {
    directory: PathBuf,
}

impl Linker {
    pub(super) fn find_or_build() -> Result<Self> {
        let directory = workspace::cache()?.join(format!("bpf-linker-{VERSION}"));
        let linker = Self { directory };
        if !linker.works() {
            packages::install(&PACKAGES)?;
            linker.build()?;
        }
        Ok(linker)
    }

    /// PATH with the linker in front.
    pub(super) fn search_path(&self) -> OsString {
        let mut path = self.directory.join("bin").into_os_string();
        if let Some(rest) = env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        path
    }

    /// Runs it: its LLVM library may have been removed since it was built.
    fn works(&self) -> bool {
        Command::new(self.directory.join("bin/bpf-linker"))
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    }

    fn build(&self) -> Result<()> {
        let mut command = Command::new("cargo");
        command
            // Away from the workspace, whose cargo configuration is not the linker's.
            .current_dir("/")
            .env("LLVM_PREFIX", LLVM_PREFIX)
            .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
            .args(["--no-default-features", "--features", "llvm-22", "--root"])
            .arg(&self.directory);
        process::run_quietly(&format!("building bpf-linker {VERSION}"), &mut command)
            .context("bpf-linker can't be built (its sources come from crates.io)")
    }
}

impl fmt::Display for Linker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bpf-linker {VERSION} (LLVM {LLVM}) in {}", self.directory.display())
    }
}
