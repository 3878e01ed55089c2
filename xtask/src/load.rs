//! `load`: builds, and runs the agent on this node for one uplink, to look at it at work.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{build, process};

#[derive(Args)]
pub(crate) struct Options {
    /// The uplink: the interface through which clients come
    #[arg(long)]
    iface: String,
    /// Where packet programs hook in: auto, xdp, xdp-generic or tc
    #[arg(long, default_value = "auto", value_parser = ["auto", "xdp", "xdp-generic", "tc"])]
    hook: String,
    /// Leave programs and maps in the kernel when the agent ends, as a killed agent would
    #[arg(long)]
    keep: bool,
    /// Optimise the agent
    #[arg(long)]
    release: bool,
}

/// Where the generated files are. The agent's own defaults stay free for an installed one.
const DIRECTORY: &str = "/run/lb-load";

/// Runs the agent, and `--detach` after it. A shell waits for it, which survives ctrl-C where this process
/// would not: nothing may stay in the kernel by accident.
const SCRIPT: &str = r#"
trap : INT TERM
"$LB" agent --config "$CONFIG"
status=$?
if [ -z "$KEEP" ]; then
    "$LB" agent --detach --config "$CONFIG" && echo "programs and maps are removed from the kernel"
else
    echo "programs and maps stay; to remove them: $LB agent --detach --config $CONFIG"
fi
exit $status
"#;

/// Builds and runs the agent in the foreground; returns only if that can't be started.
///
/// # Errors
/// Without root, without that interface, or when something does not compile.
pub(crate) fn run(options: &Options) -> Result<()> {
    process::require_root("packet programs are loaded")?;
    let interface = &options.iface;
    if !Path::new("/sys/class/net").join(interface).exists() {
        bail!("--iface {interface}: there is no such interface; `ip link` lists them");
    }
    let binary = build::run(build::Options { release: options.release })?;
    let directory = Path::new(DIRECTORY);
    fs::create_dir_all(directory).with_context(|| format!("create {DIRECTORY}"))?;
    let facts = directory.join("vms.yaml");
    if !facts.exists() {
        fs::write(&facts, FACTS).with_context(|| format!("write {}", facts.display()))?;
    }
    let config = directory.join("agent.yaml");
    fs::write(&config, configuration(interface, &options.hook))
        .with_context(|| format!("write {}", config.display()))?;
    eprintln!(
        "agent on {interface}, hook {}; ctrl-C ends it{}\n  configuration: {}\n  VM facts:      {} (read again when \
         it changes)\n  in another shell:\n    export LB_SOCKET={DIRECTORY}/lb.sock\n    {} status",
        options.hook,
        if options.keep { " and leaves the programs attached" } else { " and detaches everything" },
        config.display(),
        facts.display(),
        binary.display(),
    );
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT]).env("LB", &binary).env("CONFIG", &config);
    command.env("KEEP", if options.keep { "yes" } else { "" });
    process::replace(&mut command)
}

fn configuration(interface: &str, hook: &str) -> String {
    format!(
        "# Written by `cargo xtask load`.
stateDirectory: {DIRECTORY}/state
socket: {DIRECTORY}/lb.sock
pinDirectory: /sys/fs/bpf/lb-load
interfaces:
  uplinks: [{interface}]
  vmPorts: [\"vnet*\", \"tap*\"]
  hook: {hook}
inventory:
  file: {DIRECTORY}/vms.yaml
"
    )
}

const FACTS: &str = "# The VMs of this node, for example:
#   - namespace: default
#     name: web-1
#     labels: {app: web}
#     interfaces:
#       - name: default
#         ipAddress: 192.0.2.11
virtualMachines: []
";
