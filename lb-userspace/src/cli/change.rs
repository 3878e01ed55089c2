//! Changes of one load balancer: read, edit, write, and again if somebody else was quicker.

use anyhow::{Context, bail};

use super::client::Client;
use super::output::Format;
use super::{Namespace, path};
use crate::model::load_balancer::LoadBalancer;

/// How often a change is tried again that another writer overtook.
const ATTEMPTS: usize = 5;

/// Edits a load balancer. `edit` says what it has done.
pub(super) async fn load_balancer(
    client: &Client,
    (namespace, name): (&Namespace, &str),
    format: Format,
    edit: impl Fn(&mut LoadBalancer) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let path = path::load_balancer(&namespace.namespace, name);
    for attempt in 1.. {
        let object = client.get(&path).await?;
        let mut object: LoadBalancer = serde_json::from_value(object).context("cannot read the answer")?;
        let done = edit(&mut object)?;
        // The answer carries the resourceVersion, so a change in between is a conflict and not lost.
        let body = serde_json::to_value(&object).context("cannot write the request")?;
        match client.put(&path, &body).await {
            Ok(answer) => return format.show(&answer, || Ok(done)),
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("LoadBalancer {name} keeps changing; try again")
}
