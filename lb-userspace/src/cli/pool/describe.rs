//! `lb pool describe`.

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::super::client::Client;
use super::super::output::{self, Format};
use super::super::{line, path, tidings};
use crate::model::ip_pool::{IpPool, PoolRange};

pub(super) async fn run(client: &Client, name: &str, format: Format) -> anyhow::Result<String> {
    let pool: IpPool =
        serde_json::from_value(client.get(&path::pool(name)).await?).context("cannot read the answer")?;
    let events = tidings::of(client, &pool.metadata).await?;
    let both = json!({ "ipPool": &pool, "events": &events });
    format.show(&both, || {
        let now = Timestamp::now();
        Ok(describe(&pool, now) + &tidings::table(&events, now))
    })
}

fn describe(pool: &IpPool, now: Timestamp) -> String {
    let mut text = String::new();
    for (name, value) in fields(pool, now) {
        let value = if value.is_empty() { "-" } else { &value };
        line(&mut text, format_args!("{:<14}{value}", format!("{name}:")));
    }
    text += "Ranges:\n";
    let range = |range: &PoolRange| {
        let PoolRange { subnet, range_start, range_end, gateway } = range.clone();
        [subnet, range_start, range_end, gateway]
    };
    let ranges = output::table(["SUBNET", "START", "END", "GATEWAY"], pool.spec.ranges.iter().map(range));
    text += &output::indented(&ranges);
    text += "Conditions:\n";
    text += &output::indented(&output::conditions(&pool.status.conditions, now));
    text += "Allocated:\n";
    let sharers =
        |address| pool.status.shared.get(address).map(|sharers| sharers.join(",")).unwrap_or_default();
    let allocated =
        pool.status.allocated.iter().map(|(address, lb)| [address.clone(), lb.clone(), sharers(address)]);
    text += &output::indented(&output::table(["ADDRESS", "LOADBALANCER", "SHARED WITH"], allocated));
    text
}

fn fields(pool: &IpPool, now: Timestamp) -> Vec<(&'static str, String)> {
    let selector = &pool.spec.selector;
    let network = if selector.network.is_empty() { "management" } else { &selector.network };
    vec![
        ("Name", pool.metadata.name.clone()),
        ("Description", pool.spec.description.clone()),
        ("Age", output::age(pool.metadata.creation_timestamp.as_deref(), now)),
        ("Scope", super::scopes(pool)),
        ("Network", network.to_owned()),
        ("Priority", selector.priority.to_string()),
        ("Available", format!("{} of {}", pool.status.available, pool.status.total)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_described_with_who_has_its_addresses_and_who_shares_them() {
        let pool: IpPool = serde_json::from_value(json!({
            "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "IPPool",
            "metadata": {"name": "lab", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "ranges": [{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.80", "rangeEnd": "192.0.2.99", "gateway": "192.0.2.1"}],
                "selector": {"priority": 3, "scope": [{"project": "*", "namespace": "*", "guestCluster": "*"}]}
            },
            "status": {
                "total": 20, "available": 18, "lastAllocated": "192.0.2.81",
                "allocated": {"192.0.2.80": "shop/front", "192.0.2.81": "shop/back"},
                "shared": {"192.0.2.80": ["shop/api", "shop/mail"]},
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:03Z"}]
            }
        }))
        .unwrap();
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        insta::assert_snapshot!(describe(&pool, now));
    }
}
