//! iperf3, for streams that saturate.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::http::is_listening;
use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait;

/// The port of the servers.
pub const PORT: u16 = 5201;

/// Starts a server and waits until it listens.
///
/// # Errors
/// When it does not come up.
pub fn start(vm: &Namespace, name: &str, directory: &Path) -> Result<Process> {
    let log = directory.join(format!("iperf3-{name}.log"));
    let port = PORT.to_string();
    let process = Process::start(vm.command("iperf3").args(["-s", "-p", &port]), log)?;
    wait::until(&format!("iperf3 of {name} listens"), Duration::from_secs(10), || is_listening(vm, PORT))
        .with_context(|| process.log())?;
    Ok(process)
}
