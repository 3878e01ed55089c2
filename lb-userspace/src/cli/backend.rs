//! `lb backend`.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::client::Client;
use super::output::{self, Format};
use super::{Namespace, change, path};
use crate::control::report::{BackendsReport, Counters, LoadBalancerReport};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb backend list
  lb backend list front -n shop
  lb backend weight front web-1 10
  lb backend drain front web-1")]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List backends with their state, health and counters
    List {
        /// Of one load balancer [default: of all]
        load_balancer: Option<String>,
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Give a VM another share of new connections
    Weight {
        #[command(flatten)]
        target: Target,
        /// Relative to the others, 0 to 256
        weight: i64,
    },
    /// Let a VM take no new connections: its weight becomes 0
    Drain {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Args, Debug)]
struct Target {
    /// The load balancer
    load_balancer: String,
    /// The VM
    vm: String,
    #[command(flatten)]
    namespace: Namespace,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    match &arguments.verb {
        Verb::List { load_balancer, namespace } => {
            list(client, load_balancer.as_ref(), namespace, format).await
        }
        Verb::Weight { target, weight } => weigh(client, target, *weight, format).await,
        Verb::Drain { target } => weigh(client, target, 0, format).await,
    }
}

async fn weigh(client: &Client, target: &Target, weight: i64, format: Format) -> anyhow::Result<String> {
    let Target { load_balancer, vm, namespace } = target;
    change::load_balancer(client, (namespace, load_balancer), format, |object| {
        let known = object.status.backends.iter().map(|backend| backend.vm.as_str());
        if !known.clone().any(|name| name == vm) && !object.spec.weights.contains_key(vm) {
            let known: Vec<&str> = known.collect();
            bail!(
                "LoadBalancer {} has no VM {vm:?}; name one of {}",
                object.metadata.key(),
                known.join(", ")
            );
        }
        object.spec.weights.insert(vm.clone(), weight);
        Ok(format!("LoadBalancer {}: {vm} has weight {weight}\n", object.metadata.key()))
    })
    .await
}

async fn list(
    client: &Client,
    load_balancer: Option<&String>,
    namespace: &Namespace,
    format: Format,
) -> anyhow::Result<String> {
    if let Some(name) = load_balancer {
        // A name that does not exist is an error, not an empty list.
        client.get(&path::load_balancer(&namespace.namespace, name)).await?;
    }
    let answer = client.get("/lb/v1/backends").await?;
    let mut report: BackendsReport = serde_json::from_value(answer).context("cannot read the answer")?;
    if let Some(name) = load_balancer {
        report.load_balancers.retain(|lb| lb.namespace == namespace.namespace && lb.name == *name);
    }
    format.show(&report, || Ok(table(&report.load_balancers, Timestamp::now())))
}

/// One row for each listener and backend.
pub(super) fn table(load_balancers: &[LoadBalancerReport], now: Timestamp) -> String {
    let mut rows = Vec::new();
    for lb in load_balancers {
        for listener in &lb.listeners {
            for backend in &listener.backends {
                let [flows, forward, reply] = counters(&backend.counters);
                rows.push([
                    format!("{}/{}", lb.namespace, lb.name),
                    listener.name.clone(),
                    backend.vm.clone(),
                    backend.address.clone(),
                    backend.state.clone(),
                    backend.health.clone(),
                    output::age(Some(&backend.since), now),
                    backend.probe.clone(),
                    backend.mode.clone(),
                    flows,
                    forward,
                    reply,
                    backend.reason.clone(),
                ]);
            }
        }
    }
    let header = [
        "LOADBALANCER",
        "LISTENER",
        "VM",
        "ADDRESS",
        "STATE",
        "HEALTH",
        "SINCE",
        "PROBE",
        "MODE",
        "FLOWS",
        "FORWARD",
        "REPLY",
        "REASON",
    ];
    output::table(header, rows)
}

/// Flows, bytes forward, bytes back.
pub(super) fn counters(counters: &Counters) -> [String; 3] {
    [counters.flows.to_string(), output::bytes(counters.forward_bytes), output::bytes(counters.reply_bytes)]
}
