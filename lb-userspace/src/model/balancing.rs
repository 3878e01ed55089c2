//! How new flows are spread and how long they stay, as it is written: additions to Harvester's schema.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{is_zero, or_default};

/// A client keeps its backend.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SessionAffinity {
    /// Seconds after a client's last new flow; 0 takes the default, 10800.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub timeout_seconds: i64,
}

/// A backend that leaves finishes its flows.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Draining {
    /// Seconds until its flows are ended.
    #[serde(deserialize_with = "or_default")]
    pub timeout_seconds: i64,
}

/// A backend that gets ready takes its share by and by.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SlowStart {
    /// Seconds until it has its whole share.
    #[serde(deserialize_with = "or_default")]
    pub seconds: i64,
}
