//! `lb create`.

mod ask;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::balancing::Balancing;
use super::client::Client;
use super::output::Format;
use super::policy::Policy;
use super::{Namespace, path, spec};
use crate::model::health_check::HttpCheck;
use crate::model::load_balancer::{Forwarding, HealthCheck, LoadBalancer};
use crate::model::meta::{GROUP, READY};

/// How often `--wait` looks.
const POLL: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb create front --listener web:80:8080/tcp --selector app=web --pool auto --health-check 8080
  lb create dns -n shop --listener 53:5353/udp --selector app=dns,resolver --address 192.0.2.53
  lb create front --listener 80 --selector app=web --ipam dhcp
  lb create game --listener 27000-27100/udp --selector app=game --limit-source-flows 20
  lb create intern --listener 80 --selector app=web --allow-source 10.0.0.0/8
  lb create front --listener 80 --listener 443 --selector app=web --wait

On a terminal, a name or listeners that are missing are asked for, and what else is usual.")]
pub(super) struct Arguments {
    /// Its name
    #[arg(required = true)]
    name: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    /// A port that clients dial: [NAME:]PORT[-ENDPORT][:BACKENDPORT][/tcp|/udp]; repeatable
    #[arg(long = "listener", required = true, value_name = "SPEC")]
    listeners: Vec<String>,
    /// VMs that serve it: KEY=VALUE[,VALUE]; all keys must match; repeatable
    #[arg(long = "selector", value_name = "KEY=VALUES")]
    selectors: Vec<String>,
    /// Where the address comes from
    #[arg(long, value_enum, default_value_t)]
    ipam: Ipam,
    /// The network that the address is of: NAMESPACE/NAME [default: the node's]
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// The pool that gives the address; auto finds one
    #[arg(long, default_value = "auto", value_name = "POOL")]
    pool: String,
    /// The wanted address [default: any of the pool]
    #[arg(long, value_name = "IP")]
    address: Option<String>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Probe every backend on this port
    #[arg(long, value_name = "PORT")]
    health_check: Option<i64>,
    /// What a probe asks [default: TCP]
    #[arg(long, value_name = "TYPE", requires = "health_check", ignore_case = true)]
    #[arg(value_parser = ["TCP", "HTTP", "HTTPS", "UDP", "GRPC"])]
    health_type: Option<String>,
    /// The path that HTTP and HTTPS ask for [default: /]
    #[arg(long, value_name = "PATH", requires = "health_type")]
    health_path: Option<String>,
    /// Successes in a row that make a backend ready [default: 1]
    #[arg(long, value_name = "COUNT", requires = "health_check")]
    health_success: Option<i64>,
    /// Failures in a row that make it not ready [default: 3]
    #[arg(long, value_name = "COUNT", requires = "health_check")]
    health_failure: Option<i64>,
    /// Seconds from probe to probe [default: 5]
    #[arg(long, value_name = "SECONDS", requires = "health_check")]
    health_period: Option<i64>,
    /// Seconds after which a probe has failed [default: 3]
    #[arg(long, value_name = "SECONDS", requires = "health_check")]
    health_timeout: Option<i64>,
    /// How packets reach the backends
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    #[command(flatten)]
    balancing: Balancing,
    #[command(flatten)]
    policy: Policy,
    /// Wait until it has an address and a ready backend
    #[arg(long)]
    wait: bool,
    /// How long --wait waits, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait_timeout: u64,
}

impl Arguments {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
enum Ipam {
    /// A pool
    #[default]
    Pool,
    /// A DHCP server
    Dhcp,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
enum Mode {
    /// Preserve the client's address wherever answers pass this node
    #[default]
    Auto,
    /// The VM sees the client's address
    Preserve,
    /// The VM sees the VIP
    Masquerade,
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Preserve => "Preserve",
            Self::Masquerade => "Masquerade",
        }
    }
}

/// The command for a user who can be asked for what is missing.
pub(super) fn asking(command: clap::Command) -> clap::Command {
    if !is_on_terminal() {
        return command;
    }
    command.mut_args(|argument| match argument.get_id().as_str() {
        "name" | "listeners" => argument.required(false),
        _ => argument,
    })
}

/// A program that reads or writes must not wait for an answer.
fn is_on_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

pub(super) async fn run(
    client: &Client,
    mut arguments: Box<Arguments>,
    format: Format,
) -> anyhow::Result<String> {
    if arguments.name.is_none() || arguments.listeners.is_empty() {
        let pools = client.get(&path::pools()).await?;
        let pools = pools.get("items").and_then(Value::as_array).into_iter().flatten();
        let name = |pool: &Value| Some(pool.pointer("/metadata/name")?.as_str()?.to_owned());
        let pools: Vec<String> = pools.filter_map(name).collect();
        // What is printed at the end may be for a program.
        ask::Dialogue::new(io::stdin().lock(), io::stderr()).complete(&mut arguments, &pools)?;
    }
    let arguments = &*arguments;
    let object = serde_json::to_value(manifest(arguments)?).context("cannot write the request")?;
    let answer = client.post(&path::load_balancers(Some(&arguments.namespace.namespace)), &object).await?;
    let mut created: LoadBalancer = serde_json::from_value(answer).context("cannot read the answer")?;
    if arguments.wait {
        created = wait(client, arguments, created).await?;
    }
    format.show(&created, || Ok(sentence(&created)))
}

fn manifest(arguments: &Arguments) -> anyhow::Result<LoadBalancer> {
    let mut object = LoadBalancer::new(&arguments.namespace.namespace, arguments.name());
    if let Some(network) = &arguments.network {
        object.metadata.annotations.insert(format!("{GROUP}/network"), network.clone());
    }
    let spec = &mut object.spec;
    spec.description = arguments.description.clone().unwrap_or_default();
    spec.workload_type = "vm".into();
    spec.ipam = match arguments.ipam {
        Ipam::Pool => "pool".into(),
        Ipam::Dhcp => "dhcp".into(),
    };
    spec.ip_pool = if arguments.pool == "auto" { String::new() } else { arguments.pool.clone() };
    spec.address = arguments.address.clone().unwrap_or_default();
    for text in &arguments.listeners {
        spec.listeners.push(spec::listener(text).context("--listener")?);
    }
    spec.backend_server_selector = spec::selector(&arguments.selectors)?;
    spec.health_check = arguments.health_check.map(|port| HealthCheck {
        kind: arguments.health_type.as_ref().map(|kind| kind.to_uppercase()).unwrap_or_default(),
        port,
        http: arguments.health_path.clone().map(|path| HttpCheck { path, ..HttpCheck::default() }),
        success_threshold: arguments.health_success.unwrap_or_default(),
        failure_threshold: arguments.health_failure.unwrap_or_default(),
        period_seconds: arguments.health_period.unwrap_or_default(),
        timeout_seconds: arguments.health_timeout.unwrap_or_default(),
        ..HealthCheck::default()
    });
    arguments.policy.enter(spec);
    if arguments.mode != Mode::Auto {
        spec.forwarding = Some(Forwarding { mode: arguments.mode.word().into() });
    }
    arguments.balancing.apply(spec)?;
    Ok(object)
}

async fn wait(client: &Client, arguments: &Arguments, created: LoadBalancer) -> anyhow::Result<LoadBalancer> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(arguments.wait_timeout);
    let path = path::load_balancer(&arguments.namespace.namespace, arguments.name());
    let mut current = created;
    while !is_ready(&current) {
        if tokio::time::Instant::now() >= deadline {
            let reason = not_ready_because(&current).unwrap_or("no state reported yet");
            bail!(
                "LoadBalancer {} exists, but is not ready after {} s: {reason}; see `lb describe {} -n {}`",
                current.metadata.key(),
                arguments.wait_timeout,
                arguments.name(),
                arguments.namespace.namespace
            );
        }
        tokio::time::sleep(POLL).await;
        current = serde_json::from_value(client.get(&path).await?).context("cannot read the answer")?;
    }
    Ok(current)
}

fn is_ready(object: &LoadBalancer) -> bool {
    object.status.conditions.iter().any(|c| c.kind == READY && c.status == "True")
}

fn not_ready_because(object: &LoadBalancer) -> Option<&str> {
    let condition = object.status.conditions.iter().find(|c| c.kind == READY && c.status != "True")?;
    Some(&condition.message)
}

fn sentence(object: &LoadBalancer) -> String {
    let key = object.metadata.key();
    let address = object.status.address.as_str();
    match (address, not_ready_because(object)) {
        ("", reason) => {
            let reason = reason.unwrap_or("none is assigned yet");
            format!("LoadBalancer {key} created, without an address: {reason}\n")
        }
        (address, Some(reason)) => format!("LoadBalancer {key} created: {address}, not ready: {reason}\n"),
        (address, None) => format!("LoadBalancer {key} created: {address}\n"),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    use super::*;

    #[derive(Parser, Debug)]
    struct Create {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// As on a terminal.
    pub(super) fn arguments(words: &[&str]) -> Arguments {
        let command = Create::command().mut_args(|argument| argument.required(false));
        let matches = command.try_get_matches_from([&["create"], words].concat()).unwrap();
        Create::from_arg_matches(&matches).unwrap().arguments
    }

    #[test]
    fn without_a_terminal_name_and_listeners_are_required() {
        let error = Create::try_parse_from(["create"]).unwrap_err().to_string();
        assert!(error.contains("--listener <SPEC>") && error.contains("<NAME>"), "{error}");
    }

    fn health_check(flags: &[&str]) -> Result<HealthCheck, clap::Error> {
        let words = ["create", "front", "--listener", "80:8080", "--health-check", "8080"];
        let parsed = Create::try_parse_from(words.iter().chain(flags))?;
        Ok(manifest(&parsed.arguments).unwrap().spec.health_check.unwrap())
    }

    #[test]
    fn a_check_asks_what_the_flags_say() {
        let check = health_check(&["--health-type", "https", "--health-path", "/health"]).unwrap();
        assert_eq!((check.kind.as_str(), check.http.unwrap().path.as_str()), ("HTTPS", "/health"));
        assert_eq!(health_check(&[]).unwrap().kind, "");
        assert!(health_check(&["--health-type", "SMTP"]).is_err());
        assert!(health_check(&["--health-path", "/health"]).is_err(), "a path of no type");
    }
}
