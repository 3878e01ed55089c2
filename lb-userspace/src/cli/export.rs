//! `lb export` and `lb import`: load balancers and pools of a node as one YAML stream.
//!
//! A pool carries who has which of its addresses, so that load balancers keep theirs where they are imported.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::diff::{without_identity, without_state};
use super::output::Format;
use super::{Namespace, apply, manifest, path};
use crate::model::ip_pool::{IpPool, IpPoolStatus};
use crate::model::legacy::{self, ConfigMap};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb export -A > node.yaml
  lb export -n shop -o json

Pools are always among it: load balancers keep their addresses where it is imported.")]
pub(super) struct Arguments {
    #[command(flatten)]
    namespace: Namespace,
    /// Load balancers of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    let namespace = Some(arguments.namespace.namespace.as_str()).filter(|_| !arguments.all_namespaces);
    let mut objects = Vec::new();
    for pool in items(client.get(&path::pools()).await?) {
        objects.push(remembering(pool)?);
    }
    objects.extend(items(client.get(&path::load_balancers(namespace)).await?).into_iter().map(without_state));
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    format.show(&list, || {
        let documents = objects.iter().map(serde_saphyr::to_string);
        let documents: Vec<String> = documents.collect::<Result<_, _>>().context("cannot write YAML")?;
        Ok(documents.join("---\n"))
    })
}

fn items(mut list: Value) -> Vec<Value> {
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        Some(_) | None => Vec::new(),
    }
}

/// The pool, with who has or had which address, and no other state.
fn remembering(pool: Value) -> anyhow::Result<Value> {
    let mut pool: IpPool = serde_json::from_value(pool).context("cannot read the answer")?;
    let mut history = std::mem::take(&mut pool.status.allocated_history);
    history.append(&mut pool.status.allocated);
    pool.status = IpPoolStatus::default();
    let mut object = without_state(json!(pool));
    if let Some(fields) = object.as_object_mut().filter(|_| !history.is_empty()) {
        fields.insert("status".to_owned(), json!({ "allocatedHistory": history }));
    }
    Ok(object)
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb import -f node.yaml
  kubectl get ippools,loadbalancers -A -o yaml | lb import -f -
  kubectl get configmaps -A --field-selector metadata.name=kubevip -o yaml | lb import -f -

Everything is imported, or nothing. What is here already must be as it is imported. Load balancers get the addresses
that they had, as far as the pools tell. ConfigMaps of kube-vip become pools.")]
pub(super) struct Import {
    /// What `lb export` has printed, or any manifests of LoadBalancers, IPPools and kube-vip's ConfigMaps; - reads
    /// standard input
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// Check, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn import(client: &Client, arguments: &Import, format: Format) -> anyhow::Result<String> {
    let text = manifest::read(&arguments.filename)?;
    let objects = objects(&text).with_context(|| format!("manifest {}", arguments.filename.display()))?;
    let mut answer = apply::submit(client, &objects, true).await?;
    let differing: Vec<String> = apply::outcomes(&answer)
        .filter(|outcome| outcome.change == "configured")
        .map(|outcome| format!("\n  {}: exists, and is another", outcome.subject()))
        .collect();
    ensure!(
        differing.is_empty(),
        "nothing is imported:{}\nsee `lb diff -f`; delete them first, or use `lb apply -f` to change them",
        differing.concat()
    );
    if !arguments.dry_run {
        answer = apply::submit(client, &objects, false).await?;
    }
    format.show(&answer, || Ok(apply::sentences(&answer, arguments.dry_run)))
}

fn objects(text: &str) -> anyhow::Result<Vec<Value>> {
    let manifest::Contents { mut objects, config_maps } = manifest::contents(text, "default")?;
    let config_maps: Vec<ConfigMap> = config_maps
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()
        .context("cannot read a ConfigMap")?;
    match legacy::pools(&config_maps) {
        Ok(pools) => objects.splice(0..0, pools.iter().map(|pool| json!(pool))).for_each(drop),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            bail!("nothing is imported:{}", lines.concat());
        }
    }
    ensure!(!objects.is_empty(), "nothing in it to import; see `lb export`");
    Ok(objects.into_iter().map(without_identity).collect())
}
