//! What has become of one object, as it stands below its description: Kubernetes' Events, which `kubectl describe` shows as
//! well. Those of packets are another thing (`lb events`).

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Client;
use super::output;
use crate::model::meta::ObjectMeta;

/// One event, as far as it is shown.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Tiding {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    kind: String,
    /// One word.
    reason: String,
    /// A sentence.
    message: String,
    /// How often it happened.
    count: u64,
    /// RFC 3339.
    first_timestamp: String,
    /// RFC 3339.
    last_timestamp: String,
}

/// What there is to tell of an object, the latest last.
pub(super) async fn of(client: &Client, object: &ObjectMeta) -> anyhow::Result<Vec<Tiding>> {
    // Events of what has no namespace are in this one, as in Kubernetes.
    let namespace = if object.namespace.is_empty() { "default" } else { &object.namespace };
    let selector = super::flows::escaped(&format!("involvedObject.uid={}", object.uid));
    let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector={selector}");
    let mut answer = client.get(&path).await?;
    let items = answer.get_mut("items").map_or_else(Value::default, Value::take);
    let mut all: Vec<Tiding> = serde_json::from_value(items).context("cannot read the events")?;
    all.sort_by(|a, b| a.last_timestamp.cmp(&b.last_timestamp));
    Ok(all)
}

/// The end of a description.
pub(super) fn table(all: &[Tiding], now: Timestamp) -> String {
    if all.is_empty() {
        return "Events:       <none>\n".to_owned();
    }
    let rows = all.iter().map(|tiding| {
        let Tiding { kind, reason, message, count, last_timestamp, .. } = tiding.clone();
        [kind, reason, output::age(Some(&last_timestamp), now), count.to_string(), message]
    });
    format!(
        "Events:\n{}",
        output::indented(&output::table(["TYPE", "REASON", "AGE", "COUNT", "MESSAGE"], rows))
    )
}
