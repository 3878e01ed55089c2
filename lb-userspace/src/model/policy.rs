//! What a load balancer grants its clients, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{is_zero, or_default};

/// Limits of a load balancer, all its listeners and clients together. 0 is no limit.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// New connections and UDP flows a second, and as many in a burst.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub new_flows_per_second: i64,
    /// Packets from clients a second, and as many in a burst.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub packets_per_second: i64,
    /// The same for each client: an IPv4 address, or an IPv6 network of 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_source: Option<SourceLimits>,
}

/// Limits of each client. 0 is no limit.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceLimits {
    /// New connections and UDP flows a second, and as many in a burst.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub new_flows_per_second: i64,
    /// Packets a second, and as many in a burst.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub packets_per_second: i64,
}
