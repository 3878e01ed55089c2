//! kubectl on a lab's node, against the agent's API over TLS.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Lab;
use super::namespace::Namespace;
use super::tools;

/// Where the agent listens in its namespace.
pub const LISTEN: &str = "127.0.0.1:6443";

/// kubectl with a configuration of its own.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    node: Namespace,
    home: PathBuf,
}

/// The program, as `cargo xtask setup` leaves it in its cache, or why there is none.
///
/// # Errors
/// When there is none.
pub fn program() -> Result<PathBuf, String> {
    tools::cached("kubectl/kubectl")
}

impl Kubectl {
    /// With what `lb kubeconfig` prints for somebody with these rights.
    ///
    /// # Errors
    /// When the agent gives no token.
    pub fn new(lab: &Lab, program: PathBuf, name: &str, rights: &[&str]) -> Result<Self> {
        let home = lab.directory(&format!("kubectl-{name}"))?;
        let config = lab.installation.lb(&[&["kubeconfig", name][..], rights].concat())?;
        let path = home.join("config");
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        Ok(Self { program, node: lab.node().clone(), home })
    }

    /// A directory of its own.
    pub fn home(&self) -> &PathBuf {
        &self.home
    }

    /// `kubectl ARGUMENTS`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.command(&self.program.to_string_lossy());
        command.current_dir(&self.home).env("HOME", &self.home).env("KUBECONFIG", self.home.join("config"));
        command.args(arguments);
        command
    }

    /// Runs it and returns all that it prints, whatever comes of it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("start kubectl")?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(format!("{out}{err}"))
    }
}
