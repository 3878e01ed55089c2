//! IPPool as it is written and stored: Harvester's v1beta1 schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{API_VERSION, Condition, ObjectMeta, is_zero, or_default};

/// The kind, as manifests name it.
pub const KIND: &str = "IPPool";

/// A cluster-wide pool of addresses for load balancers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpPool {
    /// `loadbalancer.harvesterhci.io/v1beta1`.
    pub api_version: String,
    /// `IPPool`.
    pub kind: String,
    /// Name, labels, annotations; no namespace.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the user wants.
    #[serde(default)]
    pub spec: IpPoolSpec,
    /// Who has which address.
    #[serde(default, deserialize_with = "or_default")]
    pub status: IpPoolStatus,
}

impl IpPool {
    /// Of a name, otherwise empty.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: ObjectMeta { name: name.into(), ..ObjectMeta::default() },
            spec: IpPoolSpec::default(),
            status: IpPoolStatus::default(),
        }
    }
}

/// What the user wants.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IpPoolSpec {
    /// Free text.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The addresses.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<PoolRange>,
    /// Who may take from it automatically.
    #[serde(deserialize_with = "or_default")]
    pub selector: PoolSelector,
}

/// A run of addresses in one subnet.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolRange {
    /// CIDR; host bits are ignored.
    #[serde(deserialize_with = "or_default")]
    pub subnet: String,
    /// First address; empty is the first host.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub range_start: String,
    /// Last address; empty is the last host.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub range_end: String,
    /// Never allocated; empty is the first host.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub gateway: String,
}

/// Who may take from a pool automatically.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolSelector {
    /// The larger wins; 0 is none.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub priority: i64,
    /// `namespace/name` of the VM network; empty is the management network.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// Any of these.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<ScopeTuple>,
}

/// `*` is any; the empty text is literally empty.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScopeTuple {
    /// Rancher's project, `c-x/p-y`.
    #[serde(deserialize_with = "or_default")]
    pub project: String,
    /// The load balancer's namespace.
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    /// The guest cluster's name.
    #[serde(deserialize_with = "or_default")]
    pub guest_cluster: String,
}

impl ScopeTuple {
    /// From its parts, in the order of the schema.
    pub fn new(project: &str, namespace: &str, guest_cluster: &str) -> Self {
        Self { project: project.into(), namespace: namespace.into(), guest_cluster: guest_cluster.into() }
    }

    /// Project, namespace, guest cluster.
    pub fn parts(&self) -> [&str; 3] {
        [&self.project, &self.namespace, &self.guest_cluster]
    }
}

/// Who has which address. Written by others too, so unknown fields are tolerated.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IpPoolStatus {
    /// Addresses that can be given, gateways left out.
    #[serde(deserialize_with = "or_default")]
    pub total: i64,
    /// Those of them that nobody has.
    #[serde(deserialize_with = "or_default")]
    pub available: i64,
    /// Where the round robin stands.
    #[serde(deserialize_with = "or_default")]
    pub last_allocated: String,
    /// Address to `namespace/name` of its load balancer.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub allocated: BTreeMap<String, String>,
    /// Addition: address to the load balancers, `namespace/name`, that share it with the one that it is allocated to.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub shared: BTreeMap<String, Vec<String>>,
    /// Address to the load balancer that had it last.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub allocated_history: BTreeMap<String, String>,
    /// Only `Ready` is used.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
