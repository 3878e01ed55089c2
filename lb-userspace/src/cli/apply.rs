//! `lb apply`: a manifest goes to the agent as one transaction.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::output::Format;
use crate::model::parse::{self, Manifest};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb apply -f front.yaml
  cat pools.yaml front.yaml | lb apply -f -

All documents are checked before anything changes: either all of them are applied or none.")]
pub(super) struct Arguments {
    /// A YAML or JSON file of LoadBalancer and IPPool documents; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// The namespace of load balancers that name none
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// Check, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    let text = read(&arguments.filename)?;
    let documents = parse(&text, &arguments.namespace)
        .with_context(|| format!("manifest {}", arguments.filename.display()))?;
    let path = if arguments.dry_run { "/lb/v1/apply?dryRun=All" } else { "/lb/v1/apply" };
    let answer = client.post(path, &json!({ "items": documents })).await?;
    format.show(&answer, || Ok(sentences(&answer, arguments.dry_run)))
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path)
            .with_context(|| format!("manifest {}: cannot be read", path.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    Ok(text)
}

/// The documents of a manifest, as the API takes them.
fn parse(text: &str, namespace: &str) -> anyhow::Result<Vec<Value>> {
    let manifests = parse::manifests(text)?;
    ensure!(!manifests.is_empty(), "no document in it; write at least one LoadBalancer or IPPool");
    let value = |manifest: Manifest| match manifest {
        Manifest::LoadBalancer(mut object) => {
            if object.metadata.namespace.is_empty() {
                namespace.clone_into(&mut object.metadata.namespace);
            }
            serde_json::to_value(object)
        }
        Manifest::IpPool(object) => serde_json::to_value(object),
    };
    manifests.into_iter().map(|manifest| value(manifest).context("cannot write the request")).collect()
}

fn sentences(answer: &Value, dry_run: bool) -> String {
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    for item in items {
        let word = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let namespace = match word("/object/metadata/namespace") {
            "" => String::new(),
            namespace => format!("{namespace}/"),
        };
        let suffix = if dry_run { " (dry run)" } else { "" };
        let (kind, name, outcome) = (word("/object/kind"), word("/object/metadata/name"), word("/outcome"));
        super::line(&mut text, format_args!("{kind} {namespace}{name} {outcome}{suffix}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_gets_a_namespace() {
        let text = "
apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: IPPool
metadata: {name: a}
---
---
apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: LoadBalancer
metadata: {name: b}
---
apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: LoadBalancer
metadata: {name: c, namespace: shop}
";
        let objects = parse(text, "default").unwrap();
        let namespaces: Vec<_> = objects.iter().map(|o| o["metadata"]["namespace"].as_str()).collect();
        assert_eq!(namespaces, [None, Some("default"), Some("shop")]);
    }

    #[test]
    fn an_empty_manifest_and_wrong_yaml_are_refused() {
        assert!(parse("", "default").is_err());
        assert!(parse("---\n# nothing\n", "default").is_err());
        let error = parse("kind: IPPool\n  metadata: x\n", "default").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
