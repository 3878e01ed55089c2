//! Stories of Harvester's users, as far as the loop tells them.

use super::*;
use crate::datapath::model::Protocol;

/// Status and message of the condition Ready.
async fn ready(agent: &Agent) -> (String, String) {
    let front = agent.front().await;
    let conditions = front["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == READY).cloned().unwrap_or_default();
    let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

async fn becomes(agent: &Agent, status: &str, message: &str) {
    let expected = (status.to_owned(), message.to_owned());
    eventually(&format!("{expected:?}"), async || ready(agent).await == expected).await;
}

const NOBODY: &str = "no running backend servers";

#[tokio::test]
async fn c2_a_load_balancer_without_vms_says_so_and_becomes_ready_with_the_first() {
    let agent = Agent::start("placeholder", facts(&[])).await;
    agent.create_front().await;
    becomes(&agent, "False", NOBODY).await;
    assert_eq!(agent.front().await["status"]["address"], "192.0.2.80", "it has its address meanwhile");
    agent.inventory.send_replace(facts(&["web-1 192.0.2.11"]));
    becomes(&agent, "True", "").await;
    serves(&agent, &["192.0.2.11:8080"]).await;
    agent.stop().await;
}

#[tokio::test]
async fn c4_a_vm_that_stops_is_out_and_back_when_it_starts() {
    let agent = Agent::start("stopped", facts(&["web-1 192.0.2.11"])).await;
    agent.create_front().await;
    becomes(&agent, "True", "").await;
    let mut stopped = facts(&["web-1 192.0.2.11"]);
    for vm in Arc::make_mut(&mut stopped.vms).values_mut() {
        Arc::make_mut(vm).running = false;
    }
    agent.inventory.send_replace(stopped);
    serves(&agent, &[]).await;
    becomes(&agent, "False", NOBODY).await;
    assert_eq!(agent.front().await["status"]["backendServers"], json!(null));
    agent.inventory.send_replace(facts(&["web-1 192.0.2.11"]));
    serves(&agent, &["192.0.2.11:8080"]).await;
    becomes(&agent, "True", "").await;
    agent.stop().await;
}

#[tokio::test]
async fn c13_tcp_and_udp_share_a_port() {
    let agent = Agent::with_front("shared").await;
    serves(&agent, &["192.0.2.11:8080", "192.0.2.12:8080"]).await;
    let change = json!({"spec": {"listeners": [
        {"name": "web", "port": 80, "protocol": "TCP", "backendPort": 8080},
        {"name": "quic", "port": 80, "protocol": "UDP", "backendPort": 8443},
    ]}});
    agent.client.patch(&format!("{GROUP}/namespaces/shop/loadbalancers/front"), &change).await.unwrap();
    serves(&agent, &["192.0.2.11:8080", "192.0.2.11:8443", "192.0.2.12:8080", "192.0.2.12:8443"]).await;
    let observed = agent.datapath.observe().unwrap();
    let ports: Vec<_> =
        observed.listeners.keys().map(|listener| (listener.port, listener.protocol)).collect();
    assert_eq!(ports, [(80, Protocol::Tcp), (80, Protocol::Udp)]);
    agent.stop().await;
}
