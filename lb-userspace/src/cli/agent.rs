//! `lb agent`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::{agent, config, heap, telemetry};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb agent --config /etc/lb/lb.yaml
  lb agent --config /etc/lb/lb.yaml --check
  lb agent --config /etc/lb/lb.yaml --detach

Stopping the agent does not stop traffic: programs and maps stay in the kernel, and the next agent
adopts them. --detach removes them.")]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(long, default_value = "/etc/lb/lb.yaml", value_name = "FILE")]
    config: PathBuf,
    /// Check the configuration, and do nothing
    #[arg(long, conflicts_with = "detach")]
    check: bool,
    /// Remove programs and maps from the kernel
    #[arg(long)]
    detach: bool,
    /// What to log, as RUST_LOG: error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = config::load(&arguments.config)?;
    if arguments.check {
        return super::print(&format!("configuration {} is good\n", arguments.config.display()));
    }
    telemetry::start(arguments.log.as_deref()).context("--log")?;
    heap::share();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the I/O runtime")?;
    if arguments.detach {
        let found = runtime.block_on(agent::detach(&config))?;
        let pins = config.pin_directory.display();
        let text = if found { "removed programs and maps below" } else { "nothing was pinned below" };
        return super::print(&format!("{text} {pins}\n"));
    }
    runtime.block_on(agent::run(config)).map_err(anyhow::Error::from_boxed)
}
