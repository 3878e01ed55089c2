//! `lb backend`.

use anyhow::Context;
use clap::{Args, Subcommand};

use super::client::Client;
use super::output::{self, Format};
use super::{Namespace, path};
use crate::control::report::{BackendsReport, Counters, LoadBalancerReport};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb backend list
  lb backend list front -n shop")]
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
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    let Verb::List { load_balancer, namespace } = &arguments.verb;
    if let Some(name) = load_balancer {
        // A name that does not exist is an error, not an empty list.
        client.get(&path::load_balancer(&namespace.namespace, name)).await?;
    }
    let answer = client.get("/lb/v1/backends").await?;
    let mut report: BackendsReport = serde_json::from_value(answer).context("cannot read the answer")?;
    if let Some(name) = load_balancer {
        report.load_balancers.retain(|lb| lb.namespace == namespace.namespace && lb.name == *name);
    }
    format.show(&report, || Ok(table(&report.load_balancers)))
}

/// One row for each listener and backend.
pub(super) fn table(load_balancers: &[LoadBalancerReport]) -> String {
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
