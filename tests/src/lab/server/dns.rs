//! dnsmasq, which answers a TXT question with its VM's name.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait;

/// The port of the servers.
pub const PORT: u16 = 53;

/// The name to ask for.
pub const QUESTION: &str = "who.example";

/// Starts a server and waits until its socket is bound.
///
/// # Errors
/// When it does not come up.
pub fn start(vm: &Namespace, name: &str, directory: &Path) -> Result<Process> {
    let log = directory.join(format!("dnsmasq-{name}.log"));
    let mut command = vm.command("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"])
        .args(["--pid-file=", "--log-facility=-", &format!("--txt-record={QUESTION},{name}")]);
    let process = Process::start(&mut command, log)?;
    wait::until(&format!("dnsmasq of {name} is bound"), Duration::from_secs(10), || is_bound(vm))
        .with_context(|| process.log())?;
    Ok(process)
}

fn is_bound(namespace: &Namespace) -> bool {
    let table = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/udp6"));
    let end = format!(":{PORT:04X}");
    table.ok().and_then(Result::ok).is_some_and(|text| {
        text.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&end)))
    })
}
