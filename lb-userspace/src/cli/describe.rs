//! `lb describe`.

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::client::Client;
use super::output::{self, Format, indented};
use super::{Namespace, backend, path, tidings};
use crate::control::report::{BackendsReport, LoadBalancerReport};
use crate::model::load_balancer::{HealthCheck, LeaseStatus, LoadBalancer};

#[derive(Args, Debug)]
#[command(after_help = "Example:
  lb describe front -n shop")]
pub(super) struct Arguments {
    /// The load balancer
    name: String,
    #[command(flatten)]
    namespace: Namespace,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    let namespace = &arguments.namespace.namespace;
    let object = client.get(&path::load_balancer(namespace, &arguments.name)).await?;
    let object: LoadBalancer = serde_json::from_value(object).context("cannot read the answer")?;
    let report = client.get("/lb/v1/backends").await?;
    let report: BackendsReport = serde_json::from_value(report).context("cannot read the answer")?;
    let is_meant = |lb: &LoadBalancerReport| lb.namespace == *namespace && lb.name == arguments.name;
    let report = report.load_balancers.into_iter().find(is_meant).unwrap_or_default();
    let events = tidings::of(client, &object.metadata).await?;
    let all = json!({ "loadBalancer": &object, "backends": &report, "events": &events });
    format.show(&all, || {
        let now = Timestamp::now();
        Ok(describe(&object, &report, now) + &tidings::table(&events, now))
    })
}

fn describe(object: &LoadBalancer, report: &LoadBalancerReport, now: Timestamp) -> String {
    let mut text = String::new();
    for (name, value) in fields(object, now) {
        super::line(&mut text, format_args!("{:<14}{value}", format!("{name}:")));
    }
    text += "Conditions:\n";
    text += &indented(&output::conditions(&object.status.conditions, now));
    text += "Listeners:\n";
    let listeners = report.listeners.iter().map(|l| {
        let address = match l.end_port {
            None => format!("{}/{}", l.port, l.protocol),
            Some(end_port) => format!("{}-{end_port}/{}", l.port, l.protocol),
        };
        let backend_port = if l.backend_port == 0 { "as dialled".into() } else { l.backend_port.to_string() };
        let [flows, forward, reply] = backend::counters(&l.counters);
        [l.name.clone(), address, backend_port, flows, forward, reply, l.counters.refused.to_string()]
    });
    let header = ["NAME", "PORT", "BACKENDPORT", "FLOWS", "FORWARD", "REPLY", "REFUSED"];
    text += &indented(&output::table(header, listeners));
    for listener in &object.spec.listeners {
        if let Some(check) = &listener.health_check {
            let check = health_check(check, &listener.protocol, listener.backend_port);
            super::line(&mut text, format_args!("  Health check of {}: {check}", listener.name));
        }
    }
    text += "Backends:\n";
    text += &indented(&backend::table(std::slice::from_ref(report), now));
    text
}

fn fields(object: &LoadBalancer, now: Timestamp) -> Vec<(&'static str, String)> {
    let allocated = object.status.allocated_address.clone().unwrap_or_default();
    let selector = object.spec.backend_server_selector.iter();
    let selector: Vec<_> =
        selector.map(|(key, values)| format!("{key} in ({})", values.join(", "))).collect();
    let mode = object.spec.forwarding.as_ref().map_or("", |forwarding| &forwarding.mode);
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    vec![
        ("Name", object.metadata.name.clone()),
        ("Namespace", object.metadata.namespace.clone()),
        ("Description", or(&object.spec.description, "-")),
        ("Age", or(&output::age(object.metadata.creation_timestamp.as_deref(), now), "-")),
        ("Address", or(&object.status.address, "-")),
        match &object.status.lease {
            Some(lease) => ("Lease", or(&self::lease(lease), "-")),
            None => ("Pool", or(&allocated.ip_pool, "-")),
        },
        ("Selector", or(&selector.join(" and "), "-")),
        ("Health check", shared_check(object)),
        ("Mode", or(mode, "Auto")),
    ]
}

fn lease(lease: &LeaseStatus) -> String {
    let mut parts = Vec::new();
    if !lease.server.is_empty() {
        let end = if lease.expiration_time.is_empty() {
            "for ever".to_owned()
        } else {
            format!("until {}", lease.expiration_time)
        };
        let vlan = if lease.vlan == 0 { String::new() } else { format!(", VLAN {}", lease.vlan) };
        parts.push(format!("by {} on {}{vlan}, {end}", lease.server, lease.interface));
    }
    if !lease.message.is_empty() {
        parts.push(lease.message.clone());
    }
    parts.join("; ")
}

fn shared_check(object: &LoadBalancer) -> String {
    object
        .spec
        .health_check
        .as_ref()
        .filter(|check| check.port != 0)
        .map_or_else(|| "off".into(), |check| health_check(check, "TCP", 0))
}

fn health_check(check: &HealthCheck, protocol: &str, default_port: i64) -> String {
    if check.kind == "None" {
        return "off".into();
    }
    let or = |number: i64, default: i64| if number == 0 { default } else { number };
    let kind = match (check.kind.as_str(), &check.http) {
        ("", _) => protocol.to_owned(),
        (kind, Some(http)) if !http.path.is_empty() => format!("{kind} {}", http.path),
        (kind, _) => kind.to_owned(),
    };
    format!(
        "{kind} {}, every {} s, timeout {} s, ready after {}, not ready after {}",
        or(check.port, default_port),
        or(check.period_seconds, 5),
        or(check.timeout_seconds, 3),
        or(check.success_threshold, 1),
        or(check.failure_threshold, 3)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_balancer_is_described_with_its_backends() {
        let object: LoadBalancer = serde_json::from_value(json!({
            "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "LoadBalancer",
            "metadata": {"namespace": "shop", "name": "front", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "listeners": [{"name": "web", "port": 80, "protocol": "TCP", "backendPort": 8080}],
                "backendServerSelector": {"app": ["web", "api"], "zone": ["a"]},
                "healthCheck": {"port": 8080, "failureThreshold": 2}
            },
            "status": {
                "address": "192.0.2.80",
                "allocatedAddress": {"ipPool": "lab", "ip": "192.0.2.80"},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "BackendsReady", "message": "1 of 2 backends ready",
                    "lastTransitionTime": "2026-01-01T00:00:03Z"
                }]
            }
        }))
        .unwrap();
        let report: LoadBalancerReport = serde_json::from_value(json!({
            "namespace": "shop", "name": "front", "address": "192.0.2.80",
            "listeners": [{
                "name": "web", "port": 80, "protocol": "TCP", "backendPort": 8080,
                "counters": {"flows": 7, "forwardPackets": 70, "forwardBytes": 7000, "replyPackets": 60,
                    "replyBytes": 9_000_000, "refused": 2},
                "backends": [
                    {"vm": "web-1", "address": "192.0.2.11:8080", "state": "Active", "health": "Unhealthy",
                        "probe": "HTTP 503", "since": "2026-01-01T00:00:48Z",
                        "mode": "Preserve", "reason": "port of bridge br0 on this node",
                        "counters": {"flows": 7, "forwardPackets": 70, "forwardBytes": 7000}},
                    {"vm": "web-2", "state": "Absent", "health": "Unknown", "reason": "VM has no address"}
                ]
            }]
        }))
        .unwrap();
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        insta::assert_snapshot!(describe(&object, &report, now));
    }

    #[test]
    fn a_lease_is_described_by_its_server_and_its_end() {
        let none = LeaseStatus::default();
        assert_eq!(lease(&none), "");
        let lent = LeaseStatus { server: "192.0.2.1".into(), interface: "br0".into(), ..none.clone() };
        assert_eq!(lease(&lent), "by 192.0.2.1 on br0, for ever");
        let ending = LeaseStatus {
            vlan: 7,
            expiration_time: "2026-01-01T00:01:00Z".into(),
            message: "no DHCP server answers".into(),
            ..lent
        };
        let text = "by 192.0.2.1 on br0, VLAN 7, until 2026-01-01T00:01:00Z; no DHCP server answers";
        assert_eq!(lease(&ending), text);
    }
}
