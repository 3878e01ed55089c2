//! `lb apply`: a manifest goes to the agent as one transaction.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, RequestError};
use super::manifest;
use super::output::Format;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb apply -f front.yaml
  cat pools.yaml front.yaml | lb apply -f -

All documents are checked before anything changes: either all of them are applied or none. LoadBalancers of v1alpha1
are converted.")]
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
    let text = manifest::read(&arguments.filename)?;
    let objects = manifest::objects(&text, &arguments.namespace)
        .with_context(|| format!("manifest {}", arguments.filename.display()))?;
    let answer = submit(client, &objects, arguments.dry_run).await?;
    format.show(&answer, || Ok(sentences(&answer, arguments.dry_run)))
}

/// Has the agent apply all objects, or none. What it leaves out of them is told on standard error.
pub(super) async fn submit(client: &Client, objects: &[Value], dry_run: bool) -> Result<Value, RequestError> {
    let path = if dry_run { "/lb/v1/apply?dryRun=All" } else { "/lb/v1/apply" };
    let answer = client.post(path, &json!({ "items": objects })).await?;
    for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        eprintln!("warning: {}", warning.as_str().unwrap_or_default());
    }
    Ok(answer)
}

/// What has become of each object.
pub(super) fn outcomes(answer: &Value) -> impl Iterator<Item = Outcome<'_>> {
    answer.get("items").and_then(Value::as_array).into_iter().flatten().map(|item| {
        let word = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        Outcome {
            object: item.get("object").unwrap_or(&Value::Null),
            kind: word("/object/kind"),
            namespace: word("/object/metadata/namespace"),
            name: word("/object/metadata/name"),
            change: word("/outcome"),
        }
    })
}

/// What has become of an object.
pub(super) struct Outcome<'a> {
    pub(super) object: &'a Value,
    pub(super) kind: &'a str,
    /// Empty for a pool.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// `created`, `configured` or `unchanged`.
    pub(super) change: &'a str,
}

impl Outcome<'_> {
    /// The object, for people.
    pub(super) fn subject(&self) -> String {
        let Self { kind, namespace, name, .. } = self;
        if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
    }
}

pub(super) fn sentences(answer: &Value, dry_run: bool) -> String {
    let mut text = String::new();
    let suffix = if dry_run { " (dry run)" } else { "" };
    for outcome in outcomes(answer) {
        super::line(&mut text, format_args!("{} {}{suffix}", outcome.subject(), outcome.change));
    }
    text
}
