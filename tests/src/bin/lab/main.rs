//! Labs to look around in, and the scripted demonstration. `cargo xtask lab` and `cargo xtask demo` run this.

mod console;
mod demo;
mod down;
mod service;
mod status;
mod up;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Spec, interrupt};

#[derive(Parser)]
#[command(name = "lab", bin_name = "cargo xtask", about = "Labs of network namespaces")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make, remove and show labs
    #[command(subcommand)]
    Lab(LabVerb),
    /// Show a load balancer at work, and fail unless it works
    Demo(Shape),
}

#[derive(Subcommand)]
enum LabVerb {
    /// Make a lab with a running agent, a pool and a load balancer, and print how to enter it
    Up(Shape),
    /// Remove labs and everything in them
    Down {
        /// The lab [default: all that `lab up` made, and what killed processes left]
        id: Option<String>,
    },
    /// Show the labs there are
    Status,
}

/// What the lab is to be.
#[derive(Args, Clone, Copy)]
struct Shape {
    /// How client, node and VMs are connected
    #[arg(long, value_enum, default_value_t = Topology::Bridge)]
    topology: Topology,
    /// How many VMs there are, 1 to 60
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=60))]
    vms: u8,
    /// Where the packet programs hook in on the node's uplinks
    #[arg(long, value_enum, default_value_t = Hook::Xdp)]
    hook: Hook,
}

impl Shape {
    fn spec(self) -> Spec {
        Spec { topology: self.topology, hook: self.hook, vms: self.vms }
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            interrupt::defer_to();
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "labs are made of network namespaces, which need root");
    match verb {
        Verb::Lab(LabVerb::Up(shape)) => up::run(shape.spec()),
        Verb::Lab(LabVerb::Down { id }) => down::run(id.as_deref()),
        Verb::Lab(LabVerb::Status) => status::run(),
        Verb::Demo(shape) => demo::run(shape.spec()),
    }
}
