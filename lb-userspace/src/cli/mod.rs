//! What a human types and reads: one file a verb.
//!
//! Input: arguments and manifests. Output: requests to the agent's API, tables, JSON and YAML. `lb agent` runs
//! the agent itself. Exit codes: 0 done, 1 refused or failed, 2 wrong usage; `lb diff` has its own.

mod agent;
mod apply;
mod backend;
mod balancing;
mod capture;
mod change;
pub mod client;
mod completions;
mod create;
mod delete;
mod describe;
mod diff;
mod doctor;
mod edit;
mod events;
mod explain;
mod export;
mod flows;
mod follow;
mod get;
mod kind;
mod kubeconfig;
mod listener;
mod manifest;
mod output;
mod policy;
mod pool;
mod schema;
mod spec;
mod status;
mod tidings;
mod token;
mod top;
mod trace;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use client::Client;
use output::Format;

/// The agent's socket unless `--socket` or `LB_SOCKET` says otherwise.
const DEFAULT_SOCKET: &str = "/run/lb/lb.sock";

/// Layer-4 load balancer for virtual machines.
#[derive(Parser, Debug)]
#[command(
    name = "lb",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args, Debug)]
struct Global {
    /// The agent's Unix socket
    #[arg(long, global = true, env = "LB_SOCKET", default_value = DEFAULT_SOCKET, value_name = "PATH")]
    socket: PathBuf,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run the agent on this node, or detach what it left
    Agent(agent::Arguments),
    /// Create a load balancer
    Create(Box<create::Arguments>),
    /// List load balancers
    Get(get::Arguments),
    /// Show one load balancer with its backends, conditions, counters and events
    Describe(describe::Arguments),
    /// Change an object in your editor
    Edit(edit::Arguments),
    /// Delete load balancers and release their addresses
    Delete(delete::Arguments),
    /// Create or change everything in a manifest, or nothing
    Apply(apply::Arguments),
    /// Show what `lb apply` would change
    Diff(diff::Arguments),
    /// Print load balancers and pools, to be imported elsewhere
    Export(export::Arguments),
    /// Create what was exported elsewhere, or pools of kube-vip's ConfigMaps: everything or nothing
    Import(export::Import),
    /// Add or remove a listener
    Listener(listener::Arguments),
    /// Show backends
    Backend(backend::Arguments),
    /// Create, list, describe or delete pools of addresses
    Pool(pool::Arguments),
    /// List flows: who talks to whom now
    Flows(flows::Arguments),
    /// Show the state of this node
    Status,
    /// Show who has how much traffic now
    Top(top::Arguments),
    /// Ask the packet programs what they would do with a packet, decision by decision
    Trace(trace::Arguments),
    /// Show packets as they come and as they are left
    Capture(capture::Arguments),
    /// Tell of flows that begin and end, and of dropped packets, as it happens
    Events(events::Arguments),
    /// Give tokens to those who use the API over the network, and take them back
    Token(token::Arguments),
    /// Print what kubectl needs to reach the agent, with a new token
    Kubeconfig(kubeconfig::Arguments),
    /// Look for what is wrong with this node, and say how to mend it
    Doctor(doctor::Arguments),
    /// Print JSON Schemas of the resources, or the API's OpenAPI document
    Schema(schema::Arguments),
    /// Say what the fields of a manifest mean
    Explain(explain::Arguments),
    /// Print what a shell needs to complete this command line
    Completions(completions::Arguments),
    /// Write manual pages
    Man(completions::Man),
    /// Show the versions of this program and of the agent
    Version,
}

/// Parses the arguments and runs the verb.
pub fn run() -> ExitCode {
    let command = Arguments::command().mut_subcommand("create", create::asking);
    let arguments = Arguments::from_arg_matches(&command.get_matches());
    match execute(arguments.unwrap_or_else(|error| error.exit())) {
        Ok(code) => code,
        Err(error) => failed(&error, ExitCode::FAILURE),
    }
}

/// Says what went wrong, and ends so.
fn failed(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    eprintln!("error: {}", sentence(error));
    code
}

/// The error with those causes that it does not tell itself.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn execute(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { global, verb } = arguments;
    if let Verb::Agent(arguments) = verb {
        return agent::run(&arguments).map(|()| ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the I/O runtime")?.block_on(call(&global, verb))
}

async fn call(global: &Global, verb: Verb) -> anyhow::Result<ExitCode> {
    let client = Client::new(&global.socket);
    if let Verb::Doctor(arguments) = verb {
        return doctor::run(&client, &arguments, global.output).await;
    }
    if let Verb::Diff(arguments) = verb {
        return Ok(diff::run(&client, &arguments).await);
    }
    print(&answer(&client, verb, global.output).await?)?;
    Ok(ExitCode::SUCCESS)
}

/// What a verb says at its end.
async fn answer(client: &Client, verb: Verb, format: Format) -> anyhow::Result<String> {
    match verb {
        // These end with an exit code of their own.
        Verb::Agent(_) | Verb::Doctor(_) | Verb::Diff(_) => Ok(String::new()),
        Verb::Schema(arguments) => schema::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
        Verb::Man(arguments) => completions::man(&arguments),
        Verb::Create(arguments) => create::run(client, arguments, format).await,
        Verb::Get(arguments) => get::run(client, &arguments, format).await,
        Verb::Describe(arguments) => describe::run(client, &arguments, format).await,
        Verb::Edit(arguments) => edit::run(client, &arguments, format).await,
        Verb::Delete(arguments) => delete::run(client, &arguments).await,
        Verb::Apply(arguments) => apply::run(client, &arguments, format).await,
        Verb::Export(arguments) => export::run(client, &arguments, format).await,
        Verb::Import(arguments) => export::import(client, &arguments, format).await,
        Verb::Listener(arguments) => listener::run(client, &arguments, format).await,
        Verb::Backend(arguments) => backend::run(client, &arguments, format).await,
        Verb::Pool(arguments) => pool::run(client, &arguments, format).await,
        Verb::Flows(arguments) => flows::run(client, &arguments, format).await.map(|()| String::new()),
        Verb::Capture(arguments) => capture::run(client, &arguments, format).await.map(|()| String::new()),
        Verb::Top(arguments) => top::run(client, &arguments, format).await.map(|()| String::new()),
        Verb::Events(arguments) => events::run(client, &arguments, format).await.map(|()| String::new()),
        Verb::Trace(arguments) => trace::run(client, &arguments, format).await,
        Verb::Token(arguments) => token::run(client, &arguments, format).await,
        Verb::Kubeconfig(arguments) => kubeconfig::run(client, &arguments).await,
        Verb::Status => status::run(client, format).await,
        Verb::Version => version::run(client, format).await,
    }
}

/// Writes to standard output; a reader that has seen enough is no error.
fn print(text: &str) -> anyhow::Result<()> {
    offer(text).map(drop)
}

/// As [`print`]; whether somebody still reads.
fn offer(text: &str) -> anyhow::Result<bool> {
    use std::io::{ErrorKind, Write};
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write the output"),
    }
}

/// Adds a line; writing to a string can't fail.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    use std::fmt::Write;
    let _ = writeln!(text, "{line}");
}

/// Where a namespaced object is.
#[derive(Args, Clone, Debug)]
struct Namespace {
    /// The namespace of the load balancer and its VMs
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
}

/// API paths.
mod path {
    use crate::model::meta::API_VERSION;

    pub(super) fn load_balancers(namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("/apis/{API_VERSION}/namespaces/{namespace}/loadbalancers"),
            None => format!("/apis/{API_VERSION}/loadbalancers"),
        }
    }

    pub(super) fn load_balancer(namespace: &str, name: &str) -> String {
        format!("{}/{name}", load_balancers(Some(namespace)))
    }

    pub(super) fn pools() -> String {
        format!("/apis/{API_VERSION}/ippools")
    }

    pub(super) fn pool(name: &str) -> String {
        format!("{}/{name}", pools())
    }
}

#[cfg(test)]
mod tests;
