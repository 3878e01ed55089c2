//! `lb pool`.

mod describe;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use super::client::Client;
use super::follow::{self, Followed};
use super::output::{self, Format};
use super::{path, spec};
use crate::model::ip_pool::{IpPool, PoolRange, ScopeTuple};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Create a pool
    Create(Create),
    /// List pools
    Get {
        /// One pool [default: all]
        name: Option<String>,
        /// Go on with a row for each change: --output json gives a line, yaml a document
        #[arg(short, long)]
        watch: bool,
    },
    /// Show one pool with who has its addresses, conditions and events
    Describe {
        /// The pool
        name: String,
    },
    /// Delete pools that have no allocated address
    Delete {
        /// The pools
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb pool create lab --range 192.0.2.0/24,start=192.0.2.80,end=192.0.2.99 --global
  lb pool create shop --range 198.51.100.0/24 --namespace-scope shop --priority 10")]
struct Create {
    /// Its name
    name: String,
    /// SUBNET[,start=ADDRESS][,end=ADDRESS][,gateway=ADDRESS]; repeatable
    #[arg(long = "range", required = true, value_name = "RANGE")]
    ranges: Vec<String>,
    /// The larger wins where several pools fit; 0 is none
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    priority: i64,
    /// For load balancers of this namespace; repeatable
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "global")]
    namespace_scope: Vec<String>,
    /// For load balancers of all namespaces that no other pool serves
    #[arg(long)]
    global: bool,
    /// The VM network, NAMESPACE/NAME [default: the management network]
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    match &arguments.verb {
        Verb::Create(create) => {
            let body = serde_json::to_value(manifest(create)?).context("cannot write the request")?;
            let answer = client.post(&path::pools(), &body).await?;
            let total = answer.pointer("/status/total").and_then(Value::as_i64).unwrap_or_default();
            let mut text = format!("IPPool {} created: {total} addresses\n", create.name);
            if !create.global && create.namespace_scope.is_empty() {
                text.push_str("It has no scope, so only load balancers that name it take an address of it; ");
                text.push_str("--global or --namespace-scope offers it to others.\n");
            }
            format.show(&answer, || Ok(text))
        }
        Verb::Get { name, watch: true } => {
            watch(client, name.as_deref(), format).await.map(|()| String::new())
        }
        Verb::Get { name, watch: false } => {
            let path = name.as_deref().map_or_else(path::pools, path::pool);
            let answer = client.get(&path).await?;
            format.show(&answer, || {
                let pools = objects(answer.clone())?;
                if pools.is_empty() { Ok("No pools.\n".into()) } else { Ok(table(&pools, Timestamp::now())) }
            })
        }
        Verb::Describe { name } => describe::run(client, name, format).await,
        Verb::Delete { names } => {
            let mut text = String::new();
            for name in names {
                if let Err(error) = client.delete(&path::pool(name)).await {
                    super::print(&text)?;
                    return Err(error.into());
                }
                super::line(&mut text, format_args!("IPPool {name} deleted"));
            }
            Ok(text)
        }
    }
}

async fn watch(client: &Client, name: Option<&str>, format: Format) -> anyhow::Result<()> {
    if let Some(name) = name {
        // One that does not exist is an error, not a long wait.
        client.get(&path::pool(name)).await?;
    }
    let followed = Followed {
        path: path::pools(),
        name,
        header: HEADER,
        row: |object, now| Ok(row(&serde_json::from_value(object).context("cannot read the answer")?, now)),
    };
    follow::follow(client, &followed, format).await
}

fn manifest(create: &Create) -> anyhow::Result<IpPool> {
    let mut pool = IpPool::new(&create.name);
    pool.spec.description = create.description.clone().unwrap_or_default();
    for text in &create.ranges {
        pool.spec.ranges.push(spec::range(text).context("--range")?);
    }
    let selector = &mut pool.spec.selector;
    selector.priority = create.priority;
    selector.network = create.network.clone().unwrap_or_default();
    selector.scope = create.namespace_scope.iter().map(|n| ScopeTuple::new("*", n, "*")).collect();
    if create.global {
        selector.scope = vec![ScopeTuple::new("*", "*", "*")];
    }
    Ok(pool)
}

fn objects(mut answer: Value) -> anyhow::Result<Vec<IpPool>> {
    let items = match answer.get_mut("items") {
        Some(items) => items.take(),
        None => Value::Array(vec![answer]),
    };
    serde_json::from_value(items).context("cannot read the answer")
}

const HEADER: [&str; 7] = ["NAME", "DESCRIPTION", "RANGES", "PRIORITY", "SCOPE", "AVAILABLE", "AGE"];

fn table(pools: &[IpPool], now: Timestamp) -> String {
    output::table(HEADER, pools.iter().map(|pool| row(pool, now)))
}

fn row(pool: &IpPool, now: Timestamp) -> [String; 7] {
    [
        pool.metadata.name.clone(),
        pool.spec.description.clone(),
        pool.spec.ranges.iter().map(range).collect::<Vec<_>>().join(","),
        pool.spec.selector.priority.to_string(),
        scopes(pool),
        format!("{}/{}", pool.status.available, pool.status.total),
        output::age(pool.metadata.creation_timestamp.as_deref(), now),
    ]
}

/// For whom the pool is.
fn scopes(pool: &IpPool) -> String {
    let scope = |tuple: &ScopeTuple| match tuple.parts() {
        ["*", "*", "*"] => "global".to_owned(),
        ["*", namespace, "*"] => namespace.to_owned(),
        parts => parts.join("|"),
    };
    pool.spec.selector.scope.iter().map(scope).collect::<Vec<_>>().join(",")
}

fn range(range: &PoolRange) -> String {
    let PoolRange { subnet, range_start, range_end, .. } = range;
    if range_start.is_empty() && range_end.is_empty() {
        return subnet.clone();
    }
    format!("{subnet}({range_start}-{range_end})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_stand_in_a_table() {
        let pool = |name: &str, scope: serde_json::Value| {
            serde_json::json!({
                "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "IPPool",
                "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {
                    "ranges": [{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.80", "rangeEnd": "192.0.2.99"}],
                    "selector": {"priority": 3, "scope": scope}
                },
                "status": {"total": 20, "available": 19}
            })
        };
        let list = serde_json::json!({"items": [
            pool("lab", serde_json::json!([{"project": "*", "namespace": "*", "guestCluster": "*"}])),
            pool("shop", serde_json::json!([
                {"project": "*", "namespace": "shop", "guestCluster": "*"},
                {"project": "p", "namespace": "shop", "guestCluster": ""}
            ])),
        ]});
        let now = "2026-01-01T00:00:07Z".parse().unwrap();
        insta::assert_snapshot!(table(&objects(list).unwrap(), now));
    }
}
