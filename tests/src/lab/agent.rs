//! The agent of a lab's node, and the command line that talks to it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::cgroup;
use super::namespace::Namespace;
use super::process::Process;
use super::registry::LabId;
use super::topology::{Hook, Topology};
use super::wait;

/// How long the agent may take to be there, with packet programs verified and attached: on an emulated machine whose
/// host is busy, a minute.
const START: Duration = Duration::from_secs(180);

/// The `lb` binary and its files in one lab.
#[derive(Clone, Debug)]
pub struct Installation {
    binary: PathBuf,
    node: Namespace,
    /// The lab's directory.
    pub directory: PathBuf,
    /// Where the agent pins; it appends the version.
    pub pins: PathBuf,
    /// That of the node's processes, if there can be one.
    pub cgroup: Option<PathBuf>,
}

impl Installation {
    /// Finds the binary and writes the agent's configuration.
    ///
    /// # Errors
    /// When the binary has not been built.
    pub fn create(id: &LabId, node: &Namespace, topology: Topology, hook: Hook) -> Result<Self> {
        let cgroup = id.cgroup();
        if let Some(cgroup) = &cgroup {
            cgroup::create(cgroup)?;
        }
        let installation = Self {
            binary: binary()?,
            node: node.clone(),
            directory: id.directory(),
            pins: id.pins(),
            cgroup,
        };
        installation.configure(&installation.configuration(topology, hook))?;
        Ok(installation)
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("lb.sock")
    }

    /// The file of VM facts.
    pub fn facts(&self) -> PathBuf {
        self.directory.join("vms.yaml")
    }

    /// The agent's configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.join("agent.yaml")
    }

    /// Replaces the agent's configuration; the next start reads it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn configure(&self, text: &str) -> Result<()> {
        fs::write(self.config(), text).with_context(|| format!("write {}", self.config().display()))
    }

    /// The configuration for a topology.
    pub fn configuration(&self, topology: Topology, hook: Hook) -> String {
        let (uplinks, routed) = topology.uplinks();
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "node: node\nstateDirectory: {}\nsocket: {}\npinDirectory: {}\ninterfaces:\n  uplinks: [{}]\n  \
             routed: [{}]\n  vmPorts: [\"vm*\"]\n  hook: {}\ninventory:\n  file: {}\nnodeProcesses: {}\n",
            self.directory.join("state").display(),
            self.socket().display(),
            self.pins.display(),
            uplinks.join(", "),
            routed.join(", "),
            hook.name(),
            self.facts().display(),
            self.cgroup.as_deref().unwrap_or(Path::new("none")).display(),
        );
        text
    }

    /// A command line `lb ARGUMENTS` on the node.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.command(&self.binary.to_string_lossy());
        command.env("LB_SOCKET", self.socket()).args(arguments);
        command
    }

    /// Runs `lb ARGUMENTS` on the node, whatever comes of it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().context("start lb")
    }

    /// Runs `lb ARGUMENTS` on the node and returns what it prints.
    ///
    /// # Errors
    /// When it fails; the text has what it printed.
    pub fn lb(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("lb {}: {text}{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// Runs `lb ARGUMENTS --output json` and returns the document.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.lb(&[arguments, &["--output", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("lb {} printed {text}", arguments.join(" ")))
    }

    /// Starts the agent and waits until its API answers.
    ///
    /// # Errors
    /// When it ends, or takes too long; the text has its log.
    pub fn start(&self) -> Result<Agent> {
        self.start_with(&[])
    }

    /// As [`Installation::start`], with more arguments for the agent.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(&self, arguments: &[&str]) -> Result<Agent> {
        let config = self.config();
        let mut command = self.command(&["agent", "--config", &config.to_string_lossy()]);
        command.args(arguments);
        // Backtraces of its errors would bury them.
        command.env("RUST_BACKTRACE", "0");
        let mut process = Process::start(&mut command, self.directory.join("agent.log"))?;
        let answers = || {
            UnixStream::connect(self.socket()).is_ok()
                && self.run(&["status"]).is_ok_and(|o| o.status.success())
        };
        wait::until("the agent answers", START, || answers() || !process.is_running())
            .with_context(|| process.log())?;
        ensure!(process.is_running(), "the agent has ended:\n{}", process.log());
        Ok(Agent { process })
    }

    /// Removes every trace of the agent from the node.
    ///
    /// # Errors
    /// When it can't.
    pub fn detach(&self) -> Result<()> {
        let config = self.config();
        self.lb(&["agent", "--detach", "--config", &config.to_string_lossy()]).map(drop)
    }
}

/// A running agent; killed on drop.
#[derive(Debug)]
pub struct Agent {
    process: Process,
}

impl Agent {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub fn kill(self) -> Result<()> {
        self.process.kill()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it takes longer than ten seconds, or fails.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.ended(Duration::from_secs(10))?;
        ensure!(status.success(), "the agent ended with {status}:\n{}", self.process.log());
        Ok(())
    }
}

/// The `lb` binary next to this one: cargo builds both into one directory.
///
/// # Errors
/// When it has not been built.
pub fn binary() -> Result<PathBuf> {
    let own = env::current_exe().context("find this program")?;
    let path = env::var_os("LB_BINARY").map(PathBuf::from).or_else(|| {
        // Tests are in `deps`.
        own.ancestors().skip(1).take(2).map(|directory| directory.join("lb")).find(|path| path.is_file())
    });
    let path = path.context("there is no `lb` binary yet: run `cargo xtask build`")?;
    ensure!(path.is_file(), "{}: no such file", path.display());
    Ok(path)
}
