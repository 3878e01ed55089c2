//! `lb version`.

use serde_json::{Value, json};

use super::client::Client;
use super::output::Format;

pub(super) async fn run(client: &Client, format: Format) -> anyhow::Result<String> {
    let agent = match client.get("/lb/v1/status").await {
        Ok(status) => status.get("version").and_then(Value::as_str).map(str::to_owned),
        Err(_) => None,
    };
    let version = env!("CARGO_PKG_VERSION");
    let both = json!({ "client": version, "agent": agent });
    format.show(&both, || {
        let agent = agent.as_deref().unwrap_or("not reachable");
        Ok(format!("lb {version} (maps {})\nagent {agent}\n", lb_common::map::ABI_VERSION))
    })
}
