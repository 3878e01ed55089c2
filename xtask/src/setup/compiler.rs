//! A Rust compiler for eBPF: Debian's, which brings a compiled `core` for that target, or a nightly of rustup
//! that compiles `core` from its sources.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::linker;
use super::packages::{self, Package};
use crate::process;

/// The target of the packet programs.
pub(super) const TARGET: &str = "bpfel-unknown-none";

/// `v3` has 32-bit jumps and compare-and-swap; wide loads from packets need the misaligned feature.
pub(super) const FLAGS: &str = "-Clinker=bpf-linker -Clink-arg=--btf -Ctarget-cpu=v3 \
    -Clink-arg=--cpu-features=+alu32,+allows-misaligned-mem-access -Cdebuginfo=2";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";

const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

const PACKAGES: [Package; 3] = [
    Package::file(DEBIAN_RUSTC, "rustc-web"),
    Package::file(DEBIAN_CORE, "libstd-rust-web-dev-bpf"),
    Package::file(DEBIAN_CLIPPY, "rust-web-clippy"),
];

/// Chooses one where both are there: `debian` or `nightly`.
const CHOICE: &str = "LB_BPF_COMPILER";

pub(super) struct Compiler {
    kind: Kind,
    version: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Debian,
    Nightly,
}

impl Compiler {
    /// Debian's compiler if it is installed, else a nightly with sources, else Debian's freshly installed.
    pub(super) fn find_or_install() -> Result<Self> {
        match env::var(CHOICE).as_deref() {
            Ok("debian") => return Self::debian_or_install(),
            Ok("nightly") => {
                return Self::nightly()
                    .unwrap_or_else(|| bail!("{CHOICE}=nightly, but:\n{}", nightly_remedy()));
            }
            Ok(other) => bail!("{CHOICE}={other}: neither `debian` nor `nightly`"),
            Err(_) => {}
        }
        if let Some(found) = Self::debian() {
            return found;
        }
        match Self::nightly() {
            Some(Ok(found)) => Ok(found),
            Some(Err(unfit)) => {
                eprintln!("rustup's nightly can't be used: {unfit}");
                Self::debian_or_install()
            }
            None => Self::debian_or_install(),
        }
    }

    /// `cargo VERB` with this compiler.
    pub(super) fn cargo(&self, verb: &str) -> Command {
        match self.kind {
            Kind::Debian => {
                // Clippy must be the compiler's own, not that of the cargo that runs this program.
                let mut command = Command::new(if verb == "clippy" { DEBIAN_CLIPPY } else { "cargo" });
                // Debian's release compiler knows the eBPF target's unstable features, it only asks for this.
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").arg(verb);
                command
            }
            Kind::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo", verb, "-Z", "build-std=core"]);
                // Set by the cargo that runs this program; they would win over `rustup run`.
                for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTC_BOOTSTRAP"] {
                    command.env_remove(variable);
                }
                command
            }
        }
    }

    /// Does it bring clippy?
    pub(super) fn has_clippy(&self) -> bool {
        match self.kind {
            Kind::Debian => Path::new(DEBIAN_CLIPPY).exists(),
            Kind::Nightly => Command::new("rustup")
                .args(["run", "nightly", "cargo-clippy", "-V"])
                .output()
                .is_ok_and(|output| output.status.success()),
        }
    }

    fn debian() -> Option<Result<Self>> {
        if ![DEBIAN_RUSTC, DEBIAN_CORE, DEBIAN_CLIPPY].iter().all(|file| Path::new(file).exists()) {
            return None;
        }
        Some(Self::described(Kind::Debian, Command::new(DEBIAN_RUSTC).arg("-vV")))
    }

    fn debian_or_install() -> Result<Self> {
        packages::install(&PACKAGES)
            .map_err(|error| error.context(format!("or use rustup instead:\n{}", nightly_remedy())))?;
        Self::debian().unwrap_or_else(|| {
            bail!("rustc-web is installed, but {DEBIAN_CORE} or {DEBIAN_CLIPPY} is missing")
        })
    }

    fn nightly() -> Option<Result<Self>> {
        let sysroot = Command::new("rustup")
            .args(["run", "nightly", "rustc", "--print", "sysroot"])
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let sources = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim_end())
            .join("lib/rustlib/src/rust/library/core");
        if !sources.exists() {
            return None;
        }
        Some(Self::described(Kind::Nightly, Command::new("rustup").args(["run", "nightly", "rustc", "-vV"])))
    }

    fn described(kind: Kind, version: &mut Command) -> Result<Self> {
        let text = process::output(version)?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown");
        let llvm = field("LLVM version: ");
        let major: u32 = llvm.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major > linker::LLVM {
            bail!(
                "its LLVM {llvm} is newer than the linker's LLVM {}; a nightly of May 2026 fits: \
                 rustup toolchain install nightly-2026-05-20 --component rust-src",
                linker::LLVM
            );
        }
        Ok(Self { kind, version: format!("{} (LLVM {llvm})", field("release: ")) })
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::Debian => "Debian's rustc",
            Kind::Nightly => "rustup's nightly rustc with build-std",
        };
        write!(formatter, "{name} {}", self.version)
    }
}

fn nightly_remedy() -> &'static str {
    "  rustup toolchain install nightly --component rust-src"
}
