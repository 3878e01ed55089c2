//! Network namespaces by name, as `ip netns` keeps them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

/// Where `ip netns` mounts namespaces.
const DIRECTORY: &str = "/run/netns";

/// A network namespace that exists by name. It is not removed on drop: the lab does that.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates it, with the loopback interface up. Its interfaces use addresses of IPv6 without asking around
    /// for another host that has them, and take none from routers.
    ///
    /// # Errors
    /// When it exists already, or without the privilege.
    pub fn create(name: String) -> Result<Self> {
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        for setting in ["accept_dad", "dad_transmits", "accept_ra"] {
            namespace.sysctl(&format!("ipv6/conf/default/{setting}"), "0")?;
        }
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file; `nsenter --net=PATH` enters it and keeps the mounts, which `ip netns exec` would hide.
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Runs `ip` inside.
    ///
    /// # Errors
    /// When it fails; the text has what it printed.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-netns", self.name.as_str()], arguments].concat())
    }

    /// Runs `work` on a thread inside. Sockets that it opens stay inside, wherever they are used later.
    ///
    /// # Errors
    /// When the namespace can't be entered.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        // The thread's name is the test's, by which failures and skips are told apart.
        let name = thread::current().name().unwrap_or("lab").to_owned();
        thread::scope(|scope| {
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, move || {
                setns(&file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("enter {}", path.display()))?;
                Ok(work())
            });
            let joined = thread.context("start a thread")?.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Writes a setting below `/proc/sys/net`, which shows each thread its own namespace.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub fn sysctl(&self, setting: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(setting);
        self.enter(|| {
            fs::write(&path, value).with_context(|| format!("write {value} to {}", path.display()))
        })?
    }

    /// The MAC address of an interface inside.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn mac(&self, interface: &str) -> Result<String> {
        let text = output(self.command("ip").args(["-oneline", "link", "show", "dev", interface]))?;
        let mut words = text.split_whitespace();
        words.find(|word| *word == "link/ether");
        words.next().map(str::to_owned).ok_or_else(|| anyhow!("{interface} in {} has no MAC", self.name))
    }
}

/// The names of the namespaces that start with `prefix`.
///
/// # Errors
/// When they can't be listed.
pub fn with_prefix(prefix: &str) -> Result<Vec<Namespace>> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("list {DIRECTORY}"))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.starts_with(prefix) {
            found.push(Namespace { name });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Runs `ip`.
///
/// # Errors
/// When it fails; the text has what it printed.
pub fn ip(arguments: &[&str]) -> Result<()> {
    output(Command::new("ip").args(arguments)).map(drop)
}

/// Runs a command and returns what it printed.
///
/// # Errors
/// When it fails; the text has what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?}: {}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}
