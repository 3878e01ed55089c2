//! Debian packages, installed where this process may, named where it may not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::process;
use crate::workspace::find_program;

/// A package, and how to see whether what it brings is there already.
pub(super) struct Package {
    name: &'static str,
    proof: Proof,
}

enum Proof {
    /// A program that is found on the PATH.
    Program(&'static str),
    /// A file or directory.
    File(&'static str),
}

impl Package {
    pub(super) const fn program(program: &'static str, name: &'static str) -> Self {
        Self { name, proof: Proof::Program(program) }
    }

    pub(super) const fn file(file: &'static str, name: &'static str) -> Self {
        Self { name, proof: Proof::File(file) }
    }

    fn is_there(&self) -> bool {
        match self.proof {
            Proof::Program(program) => find_program(program).is_some(),
            Proof::File(file) => Path::new(file).exists(),
        }
    }
}

/// Installs those that are missing.
///
/// # Errors
/// When something is missing and can't be installed; the text says what to run.
pub(super) fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<&str> =
        packages.iter().filter(|package| !package.is_there()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let remedy = format!("apt-get update && apt-get install --no-install-recommends {names}");
    if !is_debian() {
        bail!(
            "missing: {names} (names of Debian's packages); on Debian this would run, as root:\n  {remedy}"
        );
    }
    if !process::is_root() {
        bail!("missing: {names}; run as root:\n  {remedy}");
    }
    let services = Services::hold_back(&missing)?;
    let installed = apt(&names, &missing);
    services.release()?;
    installed.map_err(|error| {
        anyhow!("can't install {names}: {error:#}\nrun as root, when the network is there:\n  {remedy}")
    })
}

/// Fetches the package lists anew.
///
/// # Errors
/// When one can't be fetched.
pub(super) fn update() -> Result<()> {
    let mut update = Command::new("apt-get");
    process::run_quietly("updating the package lists", update.args(["update", "--quiet"]).args(STRICT))
}

fn apt(names: &str, missing: &[&str]) -> Result<()> {
    update()?;
    let mut install = Command::new("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        // A package that would push another out is a matter for the machine's owner.
        .args(["install", "--yes", "--quiet", "--no-install-recommends", "--no-remove"])
        .args(missing);
    process::run_quietly(&format!("installing {names}"), &mut install)
}

/// Without this, lists that can't be fetched are a mere warning.
const STRICT: [&str; 2] = ["--option", "APT::Update::Error-Mode=any"];

fn is_debian() -> bool {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    find_program("apt-get").is_some()
        && text
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .any(|value| value.contains("debian"))
}

/// The tests run their own servers; the packages' services must not start, now or at the next boot.
struct Services {
    policy: Option<&'static Path>,
    /// What starts at boot by itself.
    fresh: Vec<&'static str>,
}

/// A service and the package that brings it.
const SERVICES: [(&str, &str); 5] = [
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("kea-dhcp4-server", "kea-dhcp4-server"),
    ("isc-dhcp-server", "isc-dhcp-server"),
    ("udhcpd", "udhcpd"),
];

const POLICY: &str = "/usr/sbin/policy-rc.d";
const DENY: &str =
    "#!/bin/sh\n# Written by `cargo xtask setup` for the length of one apt-get run.\nexit 101\n";

impl Services {
    fn hold_back(missing: &[&str]) -> Result<Self> {
        let policy = Path::new(POLICY);
        // One with the same text was left behind by a run that was interrupted.
        let ours = fs::read_to_string(policy).map_or(true, |text| text == DENY);
        if ours {
            fs::write(policy, DENY).with_context(|| format!("write {POLICY}"))?;
            fs::set_permissions(policy, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("make {POLICY} executable"))?;
        }
        let fresh = SERVICES.iter().filter(|(_, package)| missing.contains(package));
        let fresh = fresh.map(|(service, _)| *service).collect();
        Ok(Self { policy: ours.then_some(policy), fresh })
    }

    fn release(self) -> Result<()> {
        if let Some(policy) = self.policy {
            fs::remove_file(policy).with_context(|| format!("remove {POLICY}"))?;
        }
        for service in self.fresh {
            if Path::new("/etc/init.d").join(service).exists() {
                process::run_quietly(
                    &format!("keeping {service} from starting at boot"),
                    Command::new("update-rc.d").args([service, "disable"]),
                )?;
            }
        }
        Ok(())
    }
}
