//! Health checks as they are written and stored: Harvester's schema, with optional additions.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::meta::{is_false, is_zero, or_default};

/// How backends are probed. 0 and empty texts take the default.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    /// Addition: `TCP`, `HTTP`, `HTTPS`, `UDP`, `GRPC` or `None`. The default is TCP; of a listener's own check,
    /// the listener's protocol.
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The probed port; 0 is no check. Of a listener's own check, 0 is the listener's backend port.
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
    /// Addition: what is asked, for `HTTP` and `HTTPS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Addition: how the server proves who it is, for `HTTPS` and `GRPC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsCheck>,
    /// Addition: what is sent, for `UDP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<UdpCheck>,
    /// Addition: what is asked, for `GRPC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcCheck>,
}

/// A GET request, and the answers that are good.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpCheck {
    /// Path and query; `/` by default.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The `Host` header; the server's address and port by default.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Status codes that are good: `204`, or a range as `200-399`, which is the default.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub expected_statuses: Vec<String>,
}

/// TLS towards the server.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TlsCheck {
    /// Whether the server's certificate must be good. By default, any will do.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub verify: bool,
    /// The name that the server is asked for (SNI) and that its certificate must be for; by default the `Host`
    /// header's, else the server's address, which no server is asked for.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub server_name: String,
    /// Who may have signed the certificate, as PEM; the node's authorities by default.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub certificate_authorities: String,
}

/// A datagram, and the answer that is good.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UdpCheck {
    /// How `payload` and `expected` are written: `Text` (default) or `Hex`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub encoding: String,
    /// What is sent; an empty datagram by default.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub payload: String,
    /// What an answer must contain. By default no answer is needed: the server fails when its host says that
    /// nobody listens.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub expected: String,
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrpcCheck {
    /// The service that is asked about; empty is the server as a whole.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub service: String,
}

/// Reads numbers as texts, too: `[200, 204]`.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Word {
        Number(i64),
        Text(String),
    }
    let words = Option::<Vec<Word>>::deserialize(deserializer)?.unwrap_or_default();
    let text = |word| match word {
        Word::Number(number) => number.to_string(),
        Word::Text(text) => text,
    };
    Ok(words.into_iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_written_as_numbers_or_texts() {
        let check: HttpCheck = serde_json::from_str(r#"{"expectedStatuses": [204, "301-399"]}"#).unwrap();
        assert_eq!(check.expected_statuses, ["204", "301-399"]);
        let check: HttpCheck = serde_json::from_str(r#"{"expectedStatuses": null}"#).unwrap();
        assert_eq!(check, HttpCheck::default());
    }
}
