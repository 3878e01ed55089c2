//! The loop between a real API over a Unix socket and a datapath in memory.

mod agent;
mod cases;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::control::admission::Intent;
use crate::datapath::flows::model::Flow;
use crate::datapath::model::{Observed, Table};
use crate::model::ip_pool::IpPool;
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::READY;
use crate::model::parse::Manifest;
use crate::store::MemoryStore;
use agent::{Agent, DEADLINE, GROUP, Visible, control, facts, pool};

/// Looks again and again until it is so.
async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let look = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(DEADLINE, look).await.is_ok(), "never: {what}");
}

async fn serves(agent: &Agent, expected: &[&str]) {
    eventually(&format!("serves {expected:?}"), async || agent.datapath.active() == expected).await;
}

#[tokio::test]
async fn c1_a_created_load_balancer_is_served_by_its_vms_and_becomes_ready() {
    let agent = Agent::with_front("serve").await;
    serves(&agent, &["192.0.2.11:8080", "192.0.2.12:8080"]).await;
    let observed = agent.datapath.observe().unwrap();
    assert!(observed.vips.contains_key(&"192.0.2.80".parse().unwrap()));
    assert_eq!(observed.tables.values().map(Table::len).collect::<Vec<_>>(), [251]);
    eventually("ready", async || {
        let front = agent.front().await;
        front["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
    .await;
    assert_eq!(agent.front().await["status"]["backendServers"], json!(["192.0.2.11", "192.0.2.12"]));
    agent.stop().await;
}

#[tokio::test]
async fn changed_facts_change_the_backends() {
    let agent = Agent::with_front("facts").await;
    serves(&agent, &["192.0.2.11:8080", "192.0.2.12:8080"]).await;
    for (vms, expected) in [
        (&["web-1 192.0.2.11"][..], &["192.0.2.11:8080"][..]),
        (&["web-1 192.0.2.21"], &["192.0.2.21:8080"]),
        (&[], &[]),
        (&["web-3 192.0.2.13"], &["192.0.2.13:8080"]),
    ] {
        agent.inventory.send_replace(facts(vms));
        serves(&agent, expected).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_deleted_load_balancer_leaves_nothing_that_answers() {
    let agent = Agent::with_front("delete").await;
    serves(&agent, &["192.0.2.11:8080", "192.0.2.12:8080"]).await;
    agent.client.delete(&format!("{GROUP}/namespaces/shop/loadbalancers/front")).await.unwrap();
    eventually("gone", async || {
        let observed = agent.datapath.observe().unwrap();
        observed.vips.is_empty() && observed.listeners.is_empty() && agent.datapath.active().is_empty()
    })
    .await;
    agent.stop().await;
}

#[tokio::test]
async fn a_refused_command_is_shown_and_tried_again() {
    let agent = Agent::start("refused", facts(&["web-1 192.0.2.11"])).await;
    agent.datapath.with(|(_, refusals)| *refusals = 3);
    agent.create_front().await;
    eventually("the failure is shown", async || {
        let status = agent.client.get("/lb/v1/status").await.unwrap();
        status["failures"].as_array().unwrap().iter().any(|failure| failure["error"] == "no room in the map")
    })
    .await;
    serves(&agent, &["192.0.2.11:8080"]).await;
    let status = agent.client.get("/lb/v1/status").await.unwrap();
    assert_eq!(status["failures"], json!([]));
    agent.stop().await;
}

#[tokio::test]
async fn an_inventory_that_was_never_read_changes_nothing() {
    let unread = vms::Facts { problem: Some("line 3: not a list".into()), ..vms::Facts::default() };
    let agent = Agent::start("unread", unread).await;
    agent.create_front().await;
    let status = agent.client.get("/lb/v1/status").await.unwrap();
    assert_eq!(status["inventory"]["error"], "line 3: not a list");
    assert_eq!(agent.datapath.observe().unwrap(), Observed::default());
    agent.inventory.send_replace(facts(&["web-1 192.0.2.11"]));
    serves(&agent, &["192.0.2.11:8080"]).await;
    let broken = vms::Facts { problem: Some("line 4".into()), ..facts(&["web-1 192.0.2.11"]) };
    agent.inventory.send_replace(broken);
    eventually("the problem is shown", async || {
        let status = agent.client.get("/lb/v1/status").await.unwrap();
        status["inventory"]["error"] == "line 4" && status["inventory"]["virtualMachines"] == 1
    })
    .await;
    assert_eq!(agent.datapath.active(), ["192.0.2.11:8080"]);
    agent.stop().await;
}

#[tokio::test]
async fn a_status_is_written_once_and_not_again() {
    let agent = Agent::with_front("quiet").await;
    eventually("all backends are in the status", async || {
        agent.front().await["status"]["backends"].as_array().is_some_and(|backends| backends.len() == 2)
    })
    .await;
    let revision = agent.registry.snapshot().revision;
    for _ in 0..5 {
        // Every report follows the turns of the facts before it.
        agent.inventory.send_replace(facts(&["web-1 192.0.2.11", "web-2 192.0.2.12"]));
        agent.client.get("/lb/v1/status").await.unwrap();
    }
    assert_eq!(agent.registry.snapshot().revision, revision);
    agent.stop().await;
}

#[tokio::test]
async fn reports_tell_listeners_and_backends() {
    let agent = Agent::with_front("report").await;
    agent.inventory.send_replace(facts(&["web-1 192.0.2.11", "web-3 "]));
    serves(&agent, &["192.0.2.11:8080"]).await;
    let mut backends = agent.client.get("/lb/v1/backends").await.unwrap();
    for backend in backends["loadBalancers"][0]["listeners"][0]["backends"].as_array_mut().unwrap() {
        // There once the status is stored, and never the same.
        backend.as_object_mut().unwrap().remove("since");
    }
    insta::assert_json_snapshot!(backends);
    let mut status = agent.client.get("/lb/v1/status").await.unwrap();
    let reasons = status.as_object_mut().unwrap().remove("reasons").unwrap();
    assert_eq!(reasons["not_ours"], 0);
    assert!(status.as_object_mut().unwrap().remove("uptimeSeconds").is_some());
    assert_eq!(
        status.as_object_mut().unwrap().remove("abiVersion"),
        Some(lb_common::map::ABI_VERSION.into())
    );
    insta::assert_json_snapshot!(status);
    agent.stop().await;
}

/// The counters of a hundred thousand backends were read for it, and the loop did nothing else for a quarter of a second.
#[tokio::test]
async fn the_status_of_the_node_reads_no_counters_of_backends() {
    let agent = Agent::with_front("node").await;
    serves(&agent, &["192.0.2.11:8080", "192.0.2.12:8080"]).await;
    agent.client.get("/lb/v1/status").await.unwrap();
    assert_eq!(agent.datapath.counted(), 0);
    agent.client.get("/lb/v1/backends").await.unwrap();
    assert_eq!(agent.datapath.counted(), 2);
    agent.stop().await;
}

/// The commit that wakes the loop may be seen before the task that made it has ended. Statuses due in that turn
/// were lost until the next resync, half a minute later.
#[tokio::test]
async fn a_status_due_while_another_is_stored_is_stored_after_it() {
    let registry = Arc::new(Registry::open(Box::new(MemoryStore::default())).unwrap());
    let mut front = LoadBalancer::new("shop", "front");
    front.spec.listeners = serde_json::from_value(json!([
        {"name": "web", "port": 80, "protocol": "TCP", "backendPort": 8080}
    ]))
    .unwrap();
    let pool: IpPool = serde_json::from_value(pool()).unwrap();
    let create = [Manifest::IpPool(pool.into()), Manifest::LoadBalancer(front.into())].map(Intent::Create);
    registry
        .submit(&crate::control::registry::Submission { intents: &create, manager: "test", dry_run: false })
        .unwrap();
    let (_inventory, inventory) = watch::channel(facts(&[]));
    let (_topology, topology) = watch::channel(Arc::default());
    let (_states, health) = watch::channel(Snapshot::new());
    let inputs = Inputs {
        resources: registry.watch(),
        inventory,
        health,
        topology,
        leases: watch::channel(Leases::new()).1,
    };
    let (probes, _) = watch::channel(WantedBackends::new());
    let (addresses, _) = watch::channel(Arc::default());
    let (ended, _) = mpsc::channel(1);
    let outputs = Outputs {
        registry: Arc::clone(&registry),
        probes,
        addresses,
        leases: watch::channel(Arc::<Wanted>::default()).0,
        ended,
        announced: watch::channel(Announced::default()).0,
    };
    let mut control = control(Visible::default(), inputs, outputs);
    let (end, ended) = oneshot::channel::<()>();
    control.storing = Some(tokio::spawn(async move {
        ended.await.unwrap_err();
        Ok(())
    }));
    control.turn();
    assert!(control.held_back);
    let (_reports, requests) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(control.run(requests, async { drop(stopped.await) }));
    drop(end);
    eventually("it has a status", async || {
        let resources = registry.snapshot();
        resources.load_balancers.values().all(|front| front.status.conditions.iter().any(|c| c.kind == READY))
    })
    .await;
    drop(stop);
    running.await.unwrap();
}

#[tokio::test]
async fn flows_are_told_line_by_line_with_the_names_of_who_serves() {
    let agent = Agent::with_front("flows").await;
    serves(&agent, &["192.0.2.11:8080", "192.0.2.12:8080"]).await;
    let vip: std::net::SocketAddr = "192.0.2.80:80".parse().unwrap();
    let flow =
        |port: u16| Flow::sample(([198, 51, 100, 7], port).into(), vip, ([192, 0, 2, 12], 8080).into());
    agent.datapath.with(|(memory, _)| memory.flows().replace((1..=3000).map(flow).collect()));
    let mut lines = Vec::new();
    let keep = |line| {
        lines.push(line);
        Ok::<_, crate::cli::client::RequestError>(())
    };
    agent.client.lines("/lb/v1/flows?lb=front&vm=web-2&limit=0", keep).await.unwrap();
    assert_eq!((&lines[0]["client"], lines.len()), (&json!("198.51.100.7:1"), 3001));
    assert_eq!(lines[2999]["loadBalancer"], "shop/front");
    assert_eq!(lines[3000]["summary"], json!({"shown": 3000, "matched": 3000, "live": 3000}));
    agent.stop().await;
}
