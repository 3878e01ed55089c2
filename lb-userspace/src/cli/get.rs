//! `lb get`.

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::client::Client;
use super::follow::{self, Followed};
use super::output::{self, Format};
use super::{Namespace, path};
use crate::model::load_balancer::{Listener, LoadBalancer};
use crate::model::meta::READY;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb get
  lb get -A
  lb get -n shop --watch
  lb get front -n shop -o yaml")]
pub(super) struct Arguments {
    /// One load balancer [default: all of the namespace]
    name: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    /// Go on with a row for each change: --output json gives a line, yaml a document
    #[arg(short, long)]
    watch: bool,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    let namespace = &arguments.namespace.namespace;
    if arguments.watch {
        return watch(client, arguments, format).await.map(|()| String::new());
    }
    let answer = match &arguments.name {
        Some(name) => client.get(&path::load_balancer(namespace, name)).await?,
        None if arguments.all_namespaces => client.get(&path::load_balancers(None)).await?,
        None => client.get(&path::load_balancers(Some(namespace))).await?,
    };
    format.show(&answer, || {
        let objects = objects(answer.clone())?;
        if objects.is_empty() {
            let place = if arguments.all_namespaces { "any namespace" } else { namespace };
            return Ok(format!("No load balancers in {place}.\n"));
        }
        Ok(table(&objects, Timestamp::now()))
    })
}

async fn watch(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<()> {
    let namespace = &arguments.namespace.namespace;
    if let Some(name) = &arguments.name {
        // One that does not exist is an error, not a long wait.
        client.get(&path::load_balancer(namespace, name)).await?;
    }
    let place = (!arguments.all_namespaces).then_some(namespace.as_str());
    let followed = Followed {
        path: path::load_balancers(place),
        name: arguments.name.as_deref(),
        header: HEADER,
        row: |object, now| Ok(row(&serde_json::from_value(object).context("cannot read the answer")?, now)),
    };
    follow::follow(client, &followed, format).await
}

/// The objects of an answer, which is one or a list.
pub(super) fn objects(mut answer: Value) -> anyhow::Result<Vec<LoadBalancer>> {
    let items = match answer.get_mut("items") {
        Some(items) => items.take(),
        None => Value::Array(vec![answer]),
    };
    serde_json::from_value(items).context("cannot read the answer")
}

const HEADER: [&str; 9] =
    ["NAMESPACE", "NAME", "WORKLOADTYPE", "IPAM", "ADDRESS", "LISTENERS", "BACKENDS", "READY", "AGE"];

fn table(objects: &[LoadBalancer], now: Timestamp) -> String {
    output::table(HEADER, objects.iter().map(|object| row(object, now)))
}

fn row(object: &LoadBalancer, now: Timestamp) -> [String; 9] {
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let backends = &object.status.backends;
    let ready = backends.iter().filter(|backend| backend.state == "Ready").count();
    let condition = object.status.conditions.iter().find(|condition| condition.kind == READY);
    [
        object.metadata.namespace.clone(),
        object.metadata.name.clone(),
        or(&object.spec.workload_type, "vm"),
        or(&object.spec.ipam, "pool"),
        object.status.address.clone(),
        object.spec.listeners.iter().map(listener).collect::<Vec<_>>().join(","),
        format!("{ready}/{}", backends.len()),
        condition.map_or_else(|| "Unknown".into(), |condition| condition.status.clone()),
        output::age(object.metadata.creation_timestamp.as_deref(), now),
    ]
}

/// `80:8080/TCP`, or `8000-8100/TCP`.
pub(super) fn listener(listener: &Listener) -> String {
    let Listener { port, end_port, backend_port, protocol, .. } = listener;
    if *end_port == 0 {
        format!("{port}:{backend_port}/{protocol}")
    } else {
        format!("{port}-{end_port}/{protocol}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_balancers_stand_in_a_table() {
        let list = serde_json::json!({"items": [
            {
                "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "LoadBalancer",
                "metadata": {"namespace": "shop", "name": "front", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"listeners": [
                    {"name": "web", "port": 80, "protocol": "TCP", "backendPort": 8080},
                    {"name": "dns", "port": 53, "protocol": "UDP", "backendPort": 5353}
                ]},
                "status": {
                    "address": "192.0.2.80",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "backends": [{"vm": "a", "state": "Ready"}, {"vm": "b", "state": "NotReady"}]
                }
            },
            {
                "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "LoadBalancer",
                "metadata": {"namespace": "shop", "name": "new"}
            }
        ]});
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&objects(list).unwrap(), now));
    }
}
