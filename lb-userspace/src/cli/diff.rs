//! `lb diff`: what `lb apply` would change, as the agent says.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::Value;
use similar::TextDiff;

use super::client::Client;
use super::kind::Kind;
use super::{apply, manifest};

/// The exit code when something would change.
const DIFFERENT: u8 = 1;
/// The exit code when nobody knows.
const FAILED: u8 = 2;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb diff -f front.yaml && echo nothing to do

The agent checks the manifest as it would for `lb apply` and fills in its defaults; nothing changes.
Exit codes: 0 no difference, 1 differences, 2 refused or failed.")]
pub(super) struct Arguments {
    /// A YAML or JSON file of LoadBalancer and IPPool documents; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// The namespace of load balancers that name none
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
}

pub(super) async fn run(client: &Client, arguments: &Arguments) -> ExitCode {
    match shown(client, arguments).await {
        Ok(true) => ExitCode::from(DIFFERENT),
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => super::failed(&error, ExitCode::from(FAILED)),
    }
}

async fn shown(client: &Client, arguments: &Arguments) -> anyhow::Result<bool> {
    let text = text(client, arguments).await?;
    super::print(&text)?;
    Ok(!text.is_empty())
}

/// The difference; empty if there is none.
pub(super) async fn text(client: &Client, arguments: &Arguments) -> anyhow::Result<String> {
    let text = manifest::read(&arguments.filename)?;
    let objects = manifest::objects(&text, &arguments.namespace)
        .with_context(|| format!("manifest {}", arguments.filename.display()))?;
    difference(client, &objects).await
}

/// A unified diff for each object that would change.
async fn difference(client: &Client, objects: &[Value]) -> anyhow::Result<String> {
    // A manifest of another cluster is compared as `lb import` takes it.
    let objects: Vec<Value> = objects.iter().cloned().map(without_identity).collect();
    let answer = apply::submit(client, &objects, true).await?;
    let mut text = String::new();
    for outcome in apply::outcomes(&answer) {
        let Some(kind) = Kind::of(outcome.kind) else { continue };
        let path = kind.path(outcome.namespace, outcome.name);
        let live = match client.get(&path).await {
            Ok(live) => written(&live)?,
            Err(error) if error.is_not_found() => String::new(),
            Err(error) => return Err(error.into()),
        };
        let subject = outcome.subject().replace(' ', "/");
        text.push_str(&unified(&subject, &live, &written(outcome.object)?));
    }
    Ok(text)
}

/// The difference of two texts, empty if there is none.
pub(super) fn unified(subject: &str, old: &str, new: &str) -> String {
    let mut text = String::new();
    if old != new {
        let diff = TextDiff::from_lines(old, new);
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "{}",
            diff.unified_diff().header(&format!("live/{subject}"), &format!("manifest/{subject}"))
        );
    }
    text
}

/// What the writer of a manifest has a say in, as YAML.
pub(super) fn written(object: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(&without_state(object.clone())).context("cannot write YAML")
}

/// The object without what the agent itself keeps in it: status, identity, versions.
pub(super) fn without_state(object: Value) -> Value {
    let mut object = without_identity(object);
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    object
}

/// The object without what a store gives it: another one's says nothing here.
pub(super) fn without_identity(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "managedFields",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.remove(field);
        }
    }
    object
}
