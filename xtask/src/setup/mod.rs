//! `setup`: everything that builds and tests need beyond Rust itself. Every verb that needs something runs it;
//! it costs next to nothing when nothing is missing.

mod compiler;
mod kernels;
mod kubectl;
mod linker;
mod packages;
mod schemathesis;

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace;
use compiler::Compiler;
use linker::Linker;
use packages::Package;

/// The servers and clients of the tests, the lab and the demo.
const LAB: [Package; 16] = [
    Package::program("ip", "iproute2"),
    Package::program("nginx", "nginx-light"),
    Package::program("iperf3", "iperf3"),
    Package::program("dnsmasq", "dnsmasq-base"),
    Package::program("dig", "bind9-dnsutils"),
    Package::program("nft", "nftables"),
    Package::program("ethtool", "ethtool"),
    Package::program("curl", "curl"),
    Package::program("tshark", "tshark"),
    Package::program("wrk", "wrk"),
    Package::program("haproxy", "haproxy"),
    Package::program("openssl", "openssl"),
    Package::file("/usr/lib/python3/dist-packages/grpc/__init__.py", "python3-grpcio"),
    Package::program("kea-dhcp4", "kea-dhcp4-server"),
    Package::program("dhcpd", "isc-dhcp-server"),
    Package::program("udhcpd", "udhcpd"),
];

/// What compiles the packet programs.
pub(crate) struct Tools {
    compiler: Compiler,
    linker: Linker,
}

impl Tools {
    /// `cargo VERB` for the eBPF target, with its compiler, linker and flags.
    pub(crate) fn cargo_for_bpf(&self, verb: &str) -> Command {
        let mut command = self.compiler.cargo(verb);
        command
            .current_dir(workspace::root())
            .env("PATH", self.linker.search_path())
            .env("RUSTFLAGS", compiler::FLAGS)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .args(["--target", compiler::TARGET]);
        command
    }

    /// Whether the compiler brings clippy for the eBPF target.
    pub(crate) fn lints_bpf(&self) -> bool {
        self.compiler.has_clippy()
    }
}

/// Installs everything: build tools, and the tests' servers and clients.
///
/// # Errors
/// When something is missing and can't be installed; the text says what to run.
pub(crate) fn everything() -> Result<Tools> {
    let lock = lock()?;
    packages::install(&LAB)?;
    kubectl::fetch()?;
    schemathesis::fetch()?;
    drop(lock);
    tools()
}

/// Installs what builds libFuzzer.
///
/// # Errors
/// When it is missing and can't be installed; the text says what to run.
pub(crate) fn fuzzer() -> Result<()> {
    let _lock = lock()?;
    packages::install(&[Package::program("c++", "g++")])
}

/// Fetches the kernels of ring 4 and what boots them. Without them it is skipped, so what is in their way is told, and
/// no error.
///
/// # Errors
/// When the cache can't be written.
pub(crate) fn kernels() -> Result<()> {
    let _lock = lock()?;
    kernels::fetch()
}

/// Installs what compiles the packet programs.
///
/// # Errors
/// When something is missing and can't be installed; the text says what to run.
pub(crate) fn tools() -> Result<Tools> {
    let _lock = lock()?;
    let compiler = Compiler::find_or_install()?;
    let linker = Linker::find_or_build()?;
    eprintln!("eBPF: {compiler}, {linker}");
    Ok(Tools { compiler, linker })
}

/// Keeps two set-ups from installing the same thing at once. Released when the file is closed.
fn lock() -> Result<File> {
    let cache = workspace::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let path = cache.join("setup.lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}
