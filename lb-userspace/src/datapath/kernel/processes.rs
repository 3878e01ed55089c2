//! Serves the node's own processes: socket programs on a cgroup.
//!
//! A link's name holds the number of its cgroup, `cgroup-1-lb_connect4`, so that links to another one are known.
//! Without these programs everything else works, so what is in their way is told, and no error.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkError};
use aya::programs::{CgroupAttachMode, CgroupSockAddr, ProgramError};
use aya_obj::programs::CgroupSockAddrAttachType as Side;
use lb_common::map::program;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::error::KernelError;
use super::loaded::{self, Build, Set};
use super::pins::{self, Pins};
use super::{links, programs, raw};
use crate::config::NodeProcesses;
use crate::datapath::processes::Processes;

/// Why processes are not served.
#[derive(Debug, thiserror::Error)]
enum ServeProcesses {
    #[error("nodeProcesses is none in the configuration")]
    Unwanted,
    #[error("no cgroup2 file system is mounted; mount one (`mount -t cgroup2 none /sys/fs/cgroup`)")]
    NoMount,
    #[error("open {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{0} is not in a cgroup2 file system; name a directory of one in nodeProcesses")]
    NotCgroup2(PathBuf),
    #[error("this kernel does not tell network namespaces apart; it takes Linux 6.1")]
    NoCookie,
    #[error("{0}; socket programs take Linux 6.1")]
    Load(KernelError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A cgroup.
struct Cgroup {
    path: PathBuf,
    directory: File,
    number: u64,
}

/// Where the programs are attached, in their order.
const SIDES: [Side; program::SOCKETS.len()] = [
    Side::Connect4,
    Side::Connect6,
    Side::UDPSendMsg4,
    Side::UDPSendMsg6,
    Side::UDPRecvMsg4,
    Side::UDPRecvMsg6,
    Side::GetPeerName4,
    Side::GetPeerName6,
];

/// The cookie of this network namespace: that of the sockets made here. 0, which is nobody's, where the kernel
/// does not tell.
pub(super) fn network() -> u64 {
    UnixDatagram::unbound().and_then(|socket| raw::network_cookie(socket.as_fd())).unwrap_or_default()
}

/// Attaches the programs, or lets those of an earlier agent's links run; removes the links to other cgroups.
pub(super) fn serve(pins: &Pins, build: Build, wanted: &NodeProcesses) -> Processes {
    match try_serve(pins, build, wanted) {
        Ok(cgroup) => Processes::Served { cgroup },
        Err(error) => {
            let removed = remove_links(pins, |_| true).and_then(|()| remove_programs(pins)).err();
            let also = removed.map(|error| format!("; {error}")).unwrap_or_default();
            Processes::NotServed { reason: format!("{error}{also}") }
        }
    }
}

fn try_serve(pins: &Pins, build: Build, wanted: &NodeProcesses) -> Result<PathBuf, ServeProcesses> {
    let path = match wanted {
        NodeProcesses::None => return Err(ServeProcesses::Unwanted),
        NodeProcesses::In(path) => path.clone(),
        NodeProcesses::Auto => {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            mount_point(&mounts).ok_or(ServeProcesses::NoMount)?
        }
    };
    if network() == 0 {
        return Err(ServeProcesses::NoCookie);
    }
    let cgroup = Cgroup::open(path)?;
    remove_links(pins, |name| !name.starts_with(&cgroup.prefix()))?;
    if !are_loaded(pins, build)? {
        load(pins, build)?;
    }
    for (name, side) in program::SOCKETS.into_iter().zip(SIDES) {
        let path = pins.program(name);
        let program = CgroupSockAddr::from_pin(&path, side);
        let mut program = program.map_err(|source| KernelError::Pinned { path, source })?;
        let link = pins.link(&format!("{}{name}", cgroup.prefix()));
        let fd = program.fd().map_err(refused(name))?;
        if !link.exists() || !links::take_over(&link, fd.as_fd())? {
            attach(&mut program, name, &cgroup, &link)?;
        }
    }
    Ok(cgroup.path)
}

/// Whether an agent of this build has loaded those that are pinned.
fn are_loaded(pins: &Pins, build: Build) -> Result<bool, KernelError> {
    let ids: Option<Vec<u32>> = program::SOCKETS.iter().map(|name| programs::pinned(pins, name)).collect();
    match ids {
        Some(ids) => loaded::is(pins, Set::Sockets, build, &ids),
        None => Ok(false),
    }
}

/// Loads and pins them.
fn load(pins: &Pins, build: Build) -> Result<(), ServeProcesses> {
    let mut object = programs::object(pins, &BTreeMap::new())?;
    let mut ids = Vec::new();
    for name in program::SOCKETS {
        let program = object.program_mut(name).ok_or(KernelError::Lacking(name))?;
        let socket: &mut CgroupSockAddr = program.try_into().map_err(refused(name))?;
        socket.load().map_err(|source| ServeProcesses::Load(refused(name)(source)))?;
        ids.push(socket.info().map_err(refused(name))?.id());
        programs::pin(program, pins, name)?;
    }
    Ok(loaded::note(pins, Set::Sockets, build, &ids)?)
}

fn refused(name: &'static str) -> impl Fn(ProgramError) -> KernelError {
    move |source| KernelError::Program { name, source }
}

impl Cgroup {
    fn open(path: PathBuf) -> Result<Self, ServeProcesses> {
        let failed = |source| ServeProcesses::Open { path: path.clone(), source };
        let directory = File::open(&path).map_err(failed)?;
        let number = directory.metadata().map_err(failed)?.ino();
        let file_system = statfs(&path).map_err(|errno| failed(errno.into()))?;
        if file_system.filesystem_type() != CGROUP2_SUPER_MAGIC {
            return Err(ServeProcesses::NotCgroup2(path));
        }
        Ok(Self { path, directory, number })
    }

    fn prefix(&self) -> String {
        format!("{PREFIX}{}-", self.number)
    }
}

/// What the names of our links begin with.
const PREFIX: &str = "cgroup-";

fn remove_links(pins: &Pins, unwanted: impl Fn(&str) -> bool) -> Result<(), KernelError> {
    let names = pins.link_names()?;
    for name in names.iter().filter(|name| name.starts_with(PREFIX) && unwanted(name)) {
        pins::remove_link(&pins.link(name))?;
    }
    Ok(())
}

fn remove_programs(pins: &Pins) -> Result<(), KernelError> {
    program::SOCKETS.iter().try_for_each(|name| programs::unpin(pins, name))
}

/// Beside whatever others have attached there: so is any link to a cgroup, whatever the mode, and the kernel refuses
/// to be told so.
fn attach(
    program: &mut CgroupSockAddr,
    name: &'static str,
    cgroup: &Cgroup,
    path: &Path,
) -> Result<(), KernelError> {
    let interface = cgroup.path.display().to_string();
    let refused = |source| KernelError::Attach { program: name, interface: interface.clone(), source };
    let pinned = |source: Box<dyn std::error::Error + Send + Sync>| KernelError::Link {
        path: path.to_owned(),
        source,
    };
    let id = program.attach(&cgroup.directory, CgroupAttachMode::Single).map_err(refused)?;
    let link = program.take_link(id).map_err(refused)?;
    let link: FdLink = link.try_into().map_err(|error: LinkError| pinned(error.into()))?;
    drop(link.pin(path).map_err(|error| pinned(error.into()))?);
    Ok(())
}

/// Where the cgroup2 file system is mounted: its root, of several mounts the first. See proc(5) for the fields.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    let points = mounts.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (root == "/" && file_system.starts_with("cgroup2 ")).then(|| PathBuf::from(point))
    });
    points.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_cgroup2_is_found_among_mounts() {
        let hybrid = "\
30 23 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
32 30 0:28 /a/container /mnt rw,relatime - cgroup2 cgroup2 rw
33 30 0:28 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw
34 30 0:28 / /elsewhere rw,relatime - cgroup2 cgroup2 rw
";
        assert_eq!(mount_point(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let legacy: String = hybrid.lines().take(2).collect();
        assert_eq!(mount_point(&legacy), None);
    }
}
