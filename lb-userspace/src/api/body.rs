//! What a client sends: an object, a patch, or options of a deletion.

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;
use super::query::Unknown;
use super::target::{Source, Target};
use crate::control::admission::Preconditions;
use crate::model::parse::{self, Manifest};
use crate::model::schema::{self, Dialect};

/// What a client sends to change some fields.
pub(super) enum Change {
    /// RFC 7396.
    Merge(Value),
    /// RFC 6902.
    Json(json_patch::Patch),
    /// Server-side apply.
    Apply(Value),
}

/// The media type of a body, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// The patch of a body.
pub(super) fn change(headers: &HeaderMap, body: &[u8]) -> Result<Change, Failure> {
    match media_type(headers) {
        "application/merge-patch+json" | "application/json" | "" => Ok(Change::Merge(json(body)?)),
        "application/json-patch+json" => Ok(Change::Json(json(body)?)),
        "application/apply-patch+yaml" => Ok(Change::Apply(json_or_yaml(body)?)),
        other => Err(Failure::unsupported_patch(other)),
    }
}

/// The object of a body.
pub(super) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Value, Failure> {
    match media_type(headers) {
        "application/json" | "" => json(body),
        "application/yaml" => json_or_yaml(body),
        other => Err(Failure::unsupported_body(other)),
    }
}

/// What a deletion asks for, beside the deletion.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeleteOptions {
    pub(super) preconditions: Option<PreconditionFields>,
    /// `["All"]` is a dry run.
    pub(super) dry_run: Option<Vec<String>>,
}

/// As Kubernetes names them.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PreconditionFields {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// Of a body, which may be empty.
    pub(super) fn of(body: &[u8]) -> Result<Self, Failure> {
        if body.is_empty() { Ok(Self::default()) } else { json(body) }
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run.as_deref().is_some_and(|stages| stages.iter().any(|stage| stage == "All"))
    }

    pub(super) fn preconditions(self) -> Preconditions {
        let fields = self.preconditions.unwrap_or_default();
        Preconditions {
            uid: fields.uid.unwrap_or_default(),
            resource_version: fields.resource_version.unwrap_or_default(),
        }
    }
}

/// The object as the target's kind, with the target's name and namespace; and warnings about what was left out.
pub(super) fn manifest(
    target: &Target,
    mut object: Value,
    unknown: Unknown,
) -> Result<(Manifest, Vec<String>), Failure> {
    let warnings = known_fields(target, &mut object, unknown);
    let text = object.to_string();
    let manifest = match target.served.source {
        Source::LoadBalancers => parse::json(text.as_bytes()).map(Manifest::LoadBalancer),
        Source::IpPools => parse::json(text.as_bytes()).map(Manifest::IpPool),
        Source::Events => return Err(Failure::no_verb_of(target.served.resource, "be written")),
    };
    let mut manifest = manifest.map_err(|error| Failure::unreadable(&error))?;
    let metadata = match &mut manifest {
        Manifest::LoadBalancer(object) => &mut object.metadata,
        Manifest::IpPool(object) => &mut object.metadata,
    };
    if target.served.namespaced {
        agree("metadata.namespace", &mut metadata.namespace, target.namespace())?;
    } else {
        metadata.namespace.clear();
    }
    if let Some(name) = &target.name {
        agree("metadata.name", &mut metadata.name, name)?;
    }
    Ok((manifest, warnings))
}

/// Leaves out what nobody knows, if the client wants that. Gives warnings if it wants them.
pub(super) fn known_fields(target: &Target, object: &mut Value, unknown: Unknown) -> Vec<String> {
    if unknown == Unknown::Refuse {
        return Vec::new();
    }
    let schema = match target.served.source {
        Source::LoadBalancers => schema::load_balancer(Dialect::OpenApi),
        Source::IpPools => schema::ip_pool(Dialect::OpenApi),
        Source::Events => return Vec::new(),
    };
    let fields = schema::prune(object, &schema);
    if unknown == Unknown::Drop {
        return Vec::new();
    }
    fields.into_iter().map(|field| format!("unknown field \"{field}\"")).collect()
}

/// A field that the path says as well: empty takes the path's word, another word is refused.
fn agree(field: &str, value: &mut String, path: &str) -> Result<(), Failure> {
    if value.is_empty() {
        path.clone_into(value);
    }
    if value == path {
        return Ok(());
    }
    Err(Failure::bad_request(format!("{field}: {value:?} is not the path's {path:?}; make them equal")))
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    parse::json(body).map_err(|error| Failure::unreadable(&error))
}

fn json_or_yaml(body: &[u8]) -> Result<Value, Failure> {
    if let Ok(value) = parse::json(body) {
        return Ok(value);
    }
    let text =
        std::str::from_utf8(body).map_err(|error| Failure::bad_request(format!("the body: {error}")))?;
    parse::yaml(text).map_err(|error| Failure::unreadable(&error))
}
