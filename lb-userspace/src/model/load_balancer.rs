//! LoadBalancer as it is written and stored: Harvester's v1beta1 schema, with optional additions.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::balancing::{Draining, SessionAffinity, SlowStart};
pub use super::health_check::HealthCheck;
use super::meta::{API_VERSION, Condition, NamespacedName, ObjectMeta, is_false, is_zero, or_default};
use super::policy::Limits;

/// The kind, as manifests name it.
pub const KIND: &str = "LoadBalancer";

/// A namespaced load balancer: one VIP, its listeners, and the VMs that serve them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// `loadbalancer.harvesterhci.io/v1beta1`.
    pub api_version: String,
    /// `LoadBalancer`.
    pub kind: String,
    /// Name, namespace, labels, annotations.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the user wants.
    #[serde(default)]
    pub spec: LoadBalancerSpec,
    /// What has become of it.
    #[serde(default, deserialize_with = "or_default")]
    pub status: LoadBalancerStatus,
}

impl LoadBalancer {
    /// Of a namespace and a name, otherwise empty.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let metadata = ObjectMeta { namespace: namespace.into(), name: name.into(), ..ObjectMeta::default() };
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata,
            spec: LoadBalancerSpec::default(),
            status: LoadBalancerStatus::default(),
        }
    }

    /// The load balancer whose address it has, if it shares one.
    pub fn shares_address_of(&self) -> Option<NamespacedName> {
        let name = &self.spec.share_address_with;
        (!name.is_empty()).then(|| NamespacedName::new(&self.metadata.namespace, name))
    }

    /// Whether a DHCP server lends it its address. A guest cluster asks for its own.
    pub fn takes_lease(&self) -> bool {
        self.spec.ipam == "dhcp" && self.spec.workload_type != "cluster"
    }
}

/// What the user wants. An empty text means the default; numbers are as wide as JSON's, so that a check can
/// refuse them by name.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancerSpec {
    /// Free text.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `vm` (default) or `cluster`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub workload_type: String,
    /// `pool` (default) or `dhcp`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ipam: String,
    /// The pool that gives the address; empty selects one automatically.
    // Written even if it is empty: manifests of Harvester's dashboard say so, and kubectl takes what is left out for
    // changed.
    #[serde(deserialize_with = "or_default")]
    pub ip_pool: String,
    /// Addition: the wanted address; empty takes any.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Addition: the load balancer of the same namespace whose address this one has, too; empty takes one of its own.
    /// No two of their listeners have a port of one protocol in common.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub share_address_with: String,
    /// Ports that clients dial.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// Label to accepted values; all labels must match.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub backend_server_selector: BTreeMap<String, Vec<String>>,
    /// Addition: which of a VM's addresses is balanced to; absent is the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_address: Option<BackendAddress>,
    /// How backends are probed; absent, or port 0, is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Addition: how packets reach the backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
    /// Addition: what a client gets that no listener or no ready backend serves: `Reject` (default) or `Drop`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub unserved: String,
    /// Addition: how a backend is chosen: `Maglev` (default), `Random` or `LeastConnections`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub selection: String,
    /// Addition: a client keeps its backend; absent is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// Addition: shares of new flows by VM name, 0 to 256.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, i64>,
    /// Addition: how long a backend that leaves may finish its flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// Addition: how long a backend that gets ready takes to its whole share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
    /// Addition: the only clients that may open flows, as ranges; empty is all. Kubernetes' name.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_source_ranges: Vec<String>,
    /// Addition: clients that may not open flows, as ranges. Of two ranges that a client is in, the longer
    /// prefix decides.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub denied_source_ranges: Vec<String>,
    /// Addition: how much is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// One port that clients dial.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Unique in the load balancer; empty becomes `<protocol>-<port>`.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Dialled by clients.
    pub port: i64,
    /// Addition: the last port of a range that begins at `port`; 0 is no range.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub end_port: i64,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The VM's port. A range has none: clients reach the port that they dial.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub backend_port: i64,
    /// Addition: only a SYN opens a connection. Without it, a segment of a connection that is not known is given
    /// to the backend that its hash chooses.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub strict: bool,
    /// Addition: a check of its own, in place of the load balancer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
}

/// Which of a VM's addresses is balanced to: the first that is as said here.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BackendAddress {
    /// The name of its interface; empty is any.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// The subnet that it is in, as CIDR; empty is any.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub subnet: String,
}

/// How packets reach the backends.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Forwarding {
    /// `Auto` (default), `Preserve` or `Masquerade`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

/// What has become of a load balancer. Written by others too, so unknown fields are tolerated.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerStatus {
    /// Addresses of all matching VMs, ready or not.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "<[_]>::is_empty")]
    pub backend_servers: Arc<[SmolStr]>,
    /// Where the address came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_address: Option<AllocatedAddress>,
    /// The VIP.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Only `Ready` is used.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Addition: the state of each matching VM.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "<[_]>::is_empty")]
    pub backends: Arc<[BackendStatus]>,
    /// Addition: who lent the address, where `spec.ipam` is `dhcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseStatus>,
}

/// The lease of an address.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseStatus {
    /// The DHCP server's address.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// The interface that it was obtained on.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// The VLAN that it was obtained in; 0 is none.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub vlan: i64,
    /// RFC 3339: when it ends, unless it is extended; empty is never.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub expiration_time: String,
    /// What is wrong: why it may end, or did.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// An address of a pool.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AllocatedAddress {
    /// The pool's name.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ip_pool: String,
    /// The address.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// `255.255.255.0`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub mask: String,
    /// The range's gateway; empty if it has none.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub gateway: String,
}

/// The state of one matching VM.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendStatus {
    /// The VM's name.
    #[serde(deserialize_with = "or_default")]
    pub vm: SmolStr,
    /// Its address; empty while it has none.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "SmolStr::is_empty")]
    pub address: SmolStr,
    /// `Ready` or `NotReady`: for the listeners without a check of their own; if all have one, `Ready` for any.
    #[serde(deserialize_with = "or_default")]
    pub state: SmolStr,
    /// One word that says why.
    #[serde(deserialize_with = "or_default")]
    pub reason: SmolStr,
    /// What the latest probe failed with, in words; empty if it did not fail.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "SmolStr::is_empty")]
    pub message: SmolStr,
    /// RFC 3339: when `state` changed last.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "SmolStr::is_empty")]
    pub last_transition_time: SmolStr,
    /// The state at each listener that has a check of its own.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
}

/// The state of one matching VM at one listener.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerStatus {
    /// The listener's name.
    #[serde(deserialize_with = "or_default")]
    pub name: SmolStr,
    /// `Ready` or `NotReady`.
    #[serde(deserialize_with = "or_default")]
    pub state: SmolStr,
    /// One word that says why.
    #[serde(deserialize_with = "or_default")]
    pub reason: SmolStr,
    /// What the latest probe failed with, in words; empty if it did not fail.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "SmolStr::is_empty")]
    pub message: SmolStr,
    /// RFC 3339: when `state` changed last.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "SmolStr::is_empty")]
    pub last_transition_time: SmolStr,
}
