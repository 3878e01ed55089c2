//! Which labs exist, whose they are, and how one is removed, whatever became of its owner.
//!
//! Every lab has a directory below [`ROOT`], namespaces named `lb-ID-…` in which all its processes run, and
//! pins below `/sys/fs/bpf/lb-ID…`. So a lab can be removed by its id alone.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::Pid;

use super::{cgroup, interrupt, namespace, wait};

/// Where labs keep their files.
pub const ROOT: &str = "/run/lb-lab";

/// The mount point of bpffs.
const BPFFS: &str = "/sys/fs/bpf";

/// The owner of a lab that stays until `lab down`.
const KEPT: &str = "kept";

/// The name of one lab.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LabId(String);

impl LabId {
    /// Takes a free id for this process, after removing the labs of processes that are gone.
    ///
    /// # Errors
    /// When the lab's directory can't be made.
    pub fn claim() -> Result<Self> {
        /// Labs of one process are numbered.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        interrupt::watch()?;
        sweep()?;
        mount_bpffs()?;
        let id = Self(format!("{:x}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(id.directory()).with_context(|| format!("create {}", id.directory().display()))?;
        id.set_owner(&this_process()?)?;
        Ok(id)
    }

    /// All labs of this machine.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn all() -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(ROOT) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.with_context(|| format!("list {ROOT}"))?.file_name();
            found.push(Self(name.to_string_lossy().into_owned()));
        }
        found.sort();
        Ok(found)
    }

    /// What all its namespaces' names begin with.
    pub fn prefix(&self) -> String {
        format!("lb-{}-", self.0)
    }

    /// Where its files are.
    pub fn directory(&self) -> PathBuf {
        Path::new(ROOT).join(&self.0)
    }

    /// Where its agent pins.
    pub fn pins(&self) -> PathBuf {
        Path::new(BPFFS).join(format!("lb-{}", self.0))
    }

    /// Where the lab pins what is not the agent's.
    pub fn peer_pins(&self) -> PathBuf {
        Path::new(BPFFS).join(format!("lb-{}-peers", self.0))
    }

    /// The cgroup of the node's processes; `None` where the machine has no cgroup2 file system.
    pub fn cgroup(&self) -> Option<PathBuf> {
        cgroup::mount().map(|mount| mount.join(format!("lb-{}", self.0)))
    }

    /// Leaves the lab to `lab down`.
    ///
    /// # Errors
    /// When that can't be written down.
    pub fn keep(&self) -> Result<()> {
        self.set_owner(KEPT)
    }

    /// Whether `lab up` made it.
    pub fn is_kept(&self) -> bool {
        self.owner() == KEPT
    }

    /// Ends all its processes and removes its namespaces, pins and files.
    ///
    /// # Errors
    /// When something can't be removed.
    pub fn remove(&self) -> Result<()> {
        let namespaces = namespace::with_prefix(&self.prefix())?;
        for namespace in &namespaces {
            wait::until(
                &format!("the processes in {} are gone", namespace.name()),
                Duration::from_secs(10),
                || {
                    let pids = pids(namespace.name());
                    for pid in &pids {
                        // It may have ended since it was listed.
                        let _ = kill(*pid, Signal::SIGKILL);
                    }
                    pids.is_empty()
                },
            )?;
        }
        // The lab's owner and the thread that watches for interrupts may both be at it: what is gone is gone.
        for namespace in &namespaces {
            let deleted = namespace::ip(&["netns", "delete", namespace.name()]);
            deleted.or_else(|error| if namespace.path().exists() { Err(error) } else { Ok(()) })?;
        }
        for directory in [self.pins(), self.peer_pins(), self.directory()] {
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", directory.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        if let Some(cgroup) = self.cgroup() {
            cgroup::remove(&cgroup)?;
        }
        // The last lab takes the directory along; with others there it stays.
        drop(fs::remove_dir(ROOT));
        Ok(())
    }

    fn owner(&self) -> String {
        fs::read_to_string(self.directory().join("owner")).unwrap_or_default()
    }

    fn set_owner(&self, owner: &str) -> Result<()> {
        let path = self.directory().join("owner");
        fs::write(&path, owner).with_context(|| format!("write {}", path.display()))
    }
}

impl std::fmt::Display for LabId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Removes the labs whose owners are gone without having done so.
///
/// # Errors
/// When one can't be removed.
pub fn sweep() -> Result<()> {
    let path = Path::new("/run/lb-lab.lock");
    let lock = File::create(path).with_context(|| format!("create {}", path.display()))?;
    // Two processes that start at once must not remove the same lab. Released when the file is closed.
    lock.lock().with_context(|| format!("lock {}", path.display()))?;
    for id in LabId::all()? {
        let owner = id.owner();
        // An empty owner is a lab that another process is claiming at this moment.
        if !owner.is_empty() && owner != KEPT && !is_alive(&owner) {
            id.remove()?;
        }
    }
    Ok(())
}

/// The labs of this process.
///
/// # Errors
/// When they can't be listed.
pub fn own() -> Result<Vec<LabId>> {
    let own = this_process()?;
    Ok(LabId::all()?.into_iter().filter(|id| id.owner() == own).collect())
}

/// Systemd does this at boot, but containers and small systems may lack it. The mount stays.
fn mount_bpffs() -> Result<()> {
    if statfs(BPFFS).context("look at /sys/fs/bpf")?.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    let nothing = None::<&str>;
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), nothing).context("mount a bpffs on /sys/fs/bpf")
}

/// The processes, not threads, that run in a namespace, this one excepted.
fn pids(namespace: &str) -> Vec<Pid> {
    let Ok(text) = namespace::output(Command::new("ip").args(["netns", "pids", namespace])) else {
        return Vec::new();
    };
    let own = Pid::this();
    text.lines()
        .filter_map(|line| line.trim().parse().ok())
        .map(Pid::from_raw)
        .filter(|pid| *pid != own)
        .collect()
}

/// `PID STARTED`: a number that comes again does so with another start.
fn this_process() -> Result<String> {
    let pid = process::id();
    let started = started(&pid.to_string()).context("read this process's start time")?;
    Ok(format!("{pid} {started}"))
}

fn is_alive(owner: &str) -> bool {
    owner.split_once(' ').is_some_and(|(pid, since)| started(pid).as_deref() == Some(since))
}

/// The start time of a process in clock ticks since boot: field 22 of `/proc/PID/stat`.
fn started(pid: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}
