//! Health checks as they are written and stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{is_zero, or_default};

/// A TCP check of every backend. 0 takes the default.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    /// The probed port; 0 is no check.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub port: i64,
    /// Successes in a row that make a backend ready.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub success_threshold: i64,
    /// Failures in a row that make it not ready.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub failure_threshold: i64,
    /// Seconds from probe to probe.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub period_seconds: i64,
    /// Seconds after which a probe has failed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub timeout_seconds: i64,
}
