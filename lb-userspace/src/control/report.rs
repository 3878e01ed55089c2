//! What the agent tells about itself: the answers of `/lb/v1/status` and `/lb/v1/backends`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait while the loop is busy; more make their senders wait.
const WAITING_REQUESTS: usize = 16;

/// The state of a node.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReport {
    /// Its name.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// The maps' version.
    pub abi_version: u32,
    /// Seconds since the agent's start.
    pub uptime_seconds: u64,
    /// Where resources are stored.
    pub store: String,
    /// Who exists.
    pub inventory: InventoryReport,
    /// Where the programs work.
    pub interfaces: Vec<InterfaceReport>,
    /// The node's own processes.
    pub node_processes: ProcessReport,
    /// The flow table.
    pub flows: FlowReport,
    /// Packets by the name of the reason.
    pub reasons: BTreeMap<String, u64>,
    /// Commands that failed and are tried again.
    pub failures: Vec<FailureReport>,
}

/// The source of VM facts.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InventoryReport {
    /// `file`, or `none`.
    pub provider: String,
    /// Where the facts come from.
    pub source: String,
    /// VMs known.
    pub virtual_machines: usize,
    /// Why the source can't be read now; the last good facts stay in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One interface that the programs are attached to.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InterfaceReport {
    /// Its name.
    pub name: String,
    /// `uplink`, `routed` or `vm`.
    pub role: String,
    /// The hook in use: `xdp`, `xdp-generic`, `tcx`, `clsact`; empty while none is.
    pub hook: String,
    /// Why this one.
    pub reason: String,
}

/// Whether processes of the node may dial VIPs.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessReport {
    /// The cgroup whose processes are served; empty while none are.
    pub cgroup: String,
    /// Why none are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// How full the flow table is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FlowReport {
    /// That of IPv4.
    pub ipv4: TableReport,
    /// That of IPv6.
    pub ipv6: TableReport,
}

/// How full a flow table is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TableReport {
    /// Entries it has; each flow takes one a direction.
    pub entries: u64,
    /// Entries in use.
    pub used: u64,
    /// Flows that have not expired.
    pub live: u64,
    /// Entries in use of the overflow map, which takes flows whose place in the table is full.
    pub overflowed: u64,
    /// Entries that the overflow map has.
    pub overflow_entries: u64,
}

/// A command that failed.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailureReport {
    /// What was to be done.
    pub command: String,
    /// What went wrong.
    pub error: String,
    /// Failures in a row.
    pub attempts: u32,
}

/// All load balancers with their backends.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendsReport {
    /// In the order of namespace and name.
    pub load_balancers: Vec<LoadBalancerReport>,
}

/// One load balancer.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its VIP; empty while it has none.
    pub address: String,
    /// Its listeners, in the order of the specification.
    pub listeners: Vec<ListenerReport>,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerReport {
    /// Its name.
    pub name: String,
    /// Dialled by clients.
    pub port: u16,
    /// The last port of a range that begins at `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u16>,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The VM's port; 0 is the one that is dialled.
    pub backend_port: u16,
    /// Of all its backends.
    pub counters: Counters,
    /// Flows that are not over, of all its backends.
    pub live_flows: u64,
    /// In the order of their addresses.
    pub backends: Vec<BackendReport>,
}

/// One backend of a listener.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendReport {
    /// The VM's name.
    pub vm: String,
    /// Its server address; empty while it has none.
    pub address: String,
    /// `Active`, `Draining`, `Dead` in the datapath; `Absent` if it is not there.
    pub state: String,
    /// `Healthy`, `Unhealthy`, `Unknown`, or `Unchecked` without health check.
    pub health: String,
    /// What the latest probe failed with, in words; empty if it did not fail.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub probe: String,
    /// RFC 3339: since when it is ready or not ready.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// How packets reach it: `Preserve` or `Masquerade`; empty while unknown.
    pub mode: String,
    /// Why this mode, or why it is not served.
    pub reason: String,
    /// Of this backend.
    pub counters: Counters,
    /// Its flows that are not over.
    pub live_flows: u64,
}

/// Packets and bytes, from the Ethernet header on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
    /// Flows opened.
    pub flows: u64,
    /// Client to backend.
    pub forward_packets: u64,
    /// Client to backend.
    pub forward_bytes: u64,
    /// Backend to client.
    pub reply_packets: u64,
    /// Backend to client.
    pub reply_bytes: u64,
    /// Packets that no flow took. Listeners only.
    pub refused: u64,
}

impl From<lb_common::stats::Stats> for Counters {
    fn from(stats: lb_common::stats::Stats) -> Self {
        Self {
            flows: stats.flows,
            forward_packets: stats.forward.packets,
            forward_bytes: stats.forward.bytes,
            reply_packets: stats.reply.packets,
            reply_bytes: stats.reply.bytes,
            refused: stats.refused,
        }
    }
}

/// Both reports, made at the same moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// The node.
    pub node: NodeReport,
    /// The backends.
    pub backends: BackendsReport,
}

/// What is asked for, and where the answer goes.
#[derive(Debug)]
pub enum Request {
    /// The node alone: of a hundred thousand backends, none is looked at.
    Node(oneshot::Sender<NodeReport>),
    /// Both.
    All(oneshot::Sender<Report>),
}

/// Asks the control loop for reports.
#[derive(Clone, Debug)]
pub struct ReportRequests(mpsc::Sender<Request>);

impl ReportRequests {
    /// The asking end and the answering end.
    pub fn channel() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(WAITING_REQUESTS);
        (Self(sender), receiver)
    }

    /// The node's report, made now; `None` when the loop has ended.
    pub async fn node(&self) -> Option<NodeReport> {
        self.ask(Request::Node).await
    }

    /// Both reports, made now; `None` when the loop has ended.
    pub async fn all(&self) -> Option<Report> {
        self.ask(Request::All).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (answer, report) = oneshot::channel();
        self.0.send(request(answer)).await.ok()?;
        report.await.ok()
    }
}
