//! Other kernels for ring 4 and for counting instructions: Debian's for clouds, which are small. They are unpacked into the cache, not installed,
//! and kept; remove one from there to have it fetched anew.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::packages::{self, Package};
use crate::{process, workspace};

/// The series that are tested.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// What the labs' networks take, in the order in which they are loaded.
const MODULES: [&str; 6] = ["llc", "stp", "bridge", "veth", "sch_ingress", "cls_bpf"];

/// What other balancers take beside that: nftables and IPVS.
const PEERS: [&str; 17] = [
    "nfnetlink",
    "libcrc32c",
    "nf_tables",
    "nf_defrag_ipv6",
    "nf_defrag_ipv4",
    "nf_conntrack",
    "nft_ct",
    "nft_numgen",
    "nf_nat",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nf_flow_table",
    "nft_flow_offload",
    "nf_flow_table_inet",
    "ip_vs",
    "ip_vs_rr",
];

/// What a VM with a network and a guest agent takes, as far as the kernel does not have it built in, in the order in
/// which it is loaded.
const VIRTIO: [&str; 9] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_console",
];

/// The directory of [`VIRTIO`].
const VM: &str = "vm";

/// The directories of modules, and what is in them.
const DIRECTORIES: [(&str, &[&str]); 2] = [("modules", &MODULES), ("peers", &PEERS)];

const PACKAGES: [Package; 9] = [
    Package::program("qemu-system-x86_64", "qemu-system-x86"),
    Package::program("dpkg-deb", "dpkg"),
    Package::program("strip", "binutils"),
    // In the image, for the kernel of which the host knows nothing.
    Package::program("ipvsadm", "ipvsadm"),
    // In a VM whose guest agent is asked.
    Package::file("/usr/sbin/qemu-ga", "qemu-guest-agent"),
    Package::file("/bin/busybox", "busybox-static"),
    // What runs that VM as its domain.
    Package::program("libvirtd", "libvirt-daemon"),
    Package::file(
        "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
        "libvirt-daemon-driver-qemu",
    ),
    Package::program("virsh", "libvirt-clients"),
];

/// Fetches the kernels that are missing. What can't be had is told, and left where the tests, which skip
/// themselves, find the reason.
///
/// # Errors
/// When the cache can't be written.
pub(super) fn fetch() -> Result<()> {
    let cache = workspace::cache()?.join("kernels");
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let installed = packages::install(&PACKAGES);
    for series in SERIES {
        let directory = cache.join(series);
        let reason = cache.join(format!("{series}.missing"));
        let fetched = match &installed {
            Err(error) => Err(format!("{error:#}")),
            Ok(()) if is_complete(&directory) => Ok(()),
            Ok(()) => fetch_one(series, &directory).map_err(|error| format!("{error:#}")),
        };
        if let Err(error) = fetched {
            eprintln!("no Linux {series} to test with: {error}");
            fs::write(&reason, error).with_context(|| format!("write {}", reason.display()))?;
        } else {
            remove(fs::remove_file(&reason), &reason)?;
        }
    }
    Ok(())
}

fn fetch_one(series: &str, directory: &Path) -> Result<()> {
    // Complete, or not there at all.
    let fresh = directory.with_file_name(format!("{series}.new"));
    remove(fs::remove_dir_all(&fresh), &fresh)?;
    fs::create_dir_all(&fresh).with_context(|| format!("create {}", fresh.display()))?;
    let package = match download(series, &fresh) {
        Ok(package) => package,
        Err(_outdated) => {
            packages::update()?;
            download(series, &fresh)?
        }
    };
    let unpacked = fresh.join("unpacked");
    let mut unpack = Command::new("dpkg-deb");
    process::run(unpack.arg("--extract").arg(&package).arg(&unpacked))?;
    let files = walk(&unpacked)?;
    take(&files, |name| name.starts_with("vmlinuz-"), &fresh.join("vmlinuz"))?;
    for (name, modules) in DIRECTORIES {
        take_modules(&files, modules, &fresh.join(name))?;
    }
    let is_module = |module: &&&str| {
        [format!("{module}.ko"), format!("{module}.ko.xz")].iter().any(|name| has(&files, name))
    };
    let modules: Vec<&str> = VIRTIO.iter().filter(is_module).copied().collect();
    take_modules(&files, &modules, &fresh.join(VM))?;
    fs::remove_dir_all(&unpacked).with_context(|| format!("remove {}", unpacked.display()))?;
    fs::remove_file(&package).with_context(|| format!("remove {}", package.display()))?;
    remove(fs::remove_dir_all(directory), directory)?;
    fs::rename(&fresh, directory).with_context(|| format!("create {}", directory.display()))
}

/// Has it all that is taken today?
fn is_complete(directory: &Path) -> bool {
    directory.join(VM).is_dir()
        && DIRECTORIES.into_iter().all(|(name, modules)| {
            fs::read_dir(directory.join(name)).is_ok_and(|entries| entries.count() >= modules.len())
        })
}

/// Copies modules under names that sort as the modules are listed.
fn take_modules(files: &[PathBuf], modules: &[&str], directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    for (number, module) in modules.iter().enumerate() {
        let (plain, compressed) = (format!("{module}.ko"), format!("{module}.ko.xz"));
        let extension = if has(files, &plain) { "ko" } else { "ko.xz" };
        let target = directory.join(format!("{number:02}-{module}.{extension}"));
        take(files, |name| name == plain || name == compressed, &target)?;
    }
    Ok(())
}

/// Downloads the newest kernel of a series that the package lists know.
fn download(series: &str, directory: &Path) -> Result<PathBuf> {
    let pattern = format!("^linux-image-{}\\.[^ ]*-cloud-amd64$", series.replace('.', "\\."));
    let found = process::output(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    let names = found.lines().filter_map(|line| line.split(' ').next());
    let Some(name) = names.max_by_key(|name| numbers(name)) else {
        bail!("apt knows no package linux-image-{series}.*-cloud-amd64");
    };
    let mut command = Command::new("apt-get");
    command.current_dir(directory).args(["--option", "APT::Sandbox::User=root", "download", name]);
    process::run_quietly(&format!("downloading {name}"), &mut command)?;
    let package = walk(directory)?.into_iter().find(|file| file.extension().is_some_and(|it| it == "deb"));
    package.with_context(|| format!("apt-get has downloaded {name}, but there is no package"))
}

/// The numbers in a name, by which versions are compared.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// All files below a directory.
fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let list = || format!("list {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(list)? {
        let entry = entry.with_context(list)?;
        if entry.file_type().with_context(list)?.is_dir() {
            files.extend(walk(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn named(file: &Path, wanted: impl Fn(&str) -> bool) -> bool {
    file.file_name().and_then(|name| name.to_str()).is_some_and(wanted)
}

fn has(files: &[PathBuf], name: &str) -> bool {
    files.iter().any(|file| named(file, |found| found == name))
}

fn take(files: &[PathBuf], wanted: impl Fn(&str) -> bool, target: &Path) -> Result<()> {
    let found = files.iter().find(|file| named(file, &wanted));
    let found = found.with_context(|| format!("the package has nothing for {}", target.display()))?;
    fs::copy(found, target).with_context(|| format!("copy {}", found.display()))?;
    Ok(())
}

/// What is not there is as good as removed.
fn remove(removed: std::io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let names = ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64"];
        assert_eq!(names.into_iter().max_by_key(|name| numbers(name)), Some(names[1]));
        let names = ["linux-image-6.12.117+deb12-cloud-amd64", "linux-image-6.12.9+deb12-cloud-amd64"];
        assert_eq!(names.into_iter().max_by_key(|name| numbers(name)), Some(names[0]));
    }
}
