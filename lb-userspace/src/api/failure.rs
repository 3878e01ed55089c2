//! Errors as Kubernetes' `Status` objects.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::control::admission::{Reference, Refusal};
use crate::control::journal::NotKnown;
use crate::model::meta::GROUP;
use crate::model::parse::ParseError;

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Failure(Box<Status>);

/// Kubernetes' answer to what fails.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "Kubernetes names the fields")]
struct Status {
    kind: &'static str,
    api_version: &'static str,
    metadata: serde_json::Map<String, serde_json::Value>,
    status: &'static str,
    message: String,
    reason: &'static str,
    details: Details,
    code: u16,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
}

#[derive(Debug, Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>, details: Details) -> Self {
        Self(Box::new(Status {
            kind: "Status",
            api_version: "v1",
            metadata: serde_json::Map::new(),
            status: "Failure",
            message: message.into(),
            reason,
            details,
            code: code.as_u16(),
        }))
    }

    /// The request makes no sense.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message, Details::default())
    }

    /// The body is not the object that it should be.
    pub(super) fn unreadable(error: &ParseError) -> Self {
        if error.path.is_empty() {
            return Self::bad_request(format!("the body is not understood: {error}"));
        }
        let cause =
            Cause { reason: "FieldValueInvalid", message: error.message.clone(), field: error.path.clone() };
        let details = Details { causes: vec![cause], ..Details::default() };
        let message = format!("{}: {}", error.path, error.message);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message, details)
    }

    /// The patch is of a kind that is not spoken.
    pub(super) fn unsupported_patch(content_type: &str) -> Self {
        let message = format!(
            "{content_type:?} is not supported; send application/merge-patch+json, application/json-patch+json \
             or application/apply-patch+yaml"
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message, Details::default())
    }

    /// Nobody knows who asks.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message, Details::default())
    }

    /// Who asks is known and may not.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message, Details::default())
    }

    /// The name is taken.
    pub(super) fn exists(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message, Details::default())
    }

    /// Others change what is asked for.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message, Details::default())
    }

    /// The object has changed since it was read: no field of it is the reason.
    pub(super) fn is_stale(&self) -> bool {
        self.0.reason == "Conflict" && self.0.details.causes.is_empty()
    }

    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message, Details::default())
    }

    /// The body takes too long to arrive.
    pub(super) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message, Details::default())
    }

    /// The body is too long.
    pub(super) fn too_long(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message, Details::default())
    }

    /// The body is in a form that is not spoken.
    pub(super) fn unsupported_body(content_type: &str) -> Self {
        let message = format!("{content_type:?} is not supported; send application/json or application/yaml");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message, Details::default())
    }

    /// The state that is asked for is not known any more, or not yet.
    pub(super) fn expired(error: &NotKnown) -> Self {
        Self::new(StatusCode::GONE, "Expired", error.to_string(), Details::default())
    }

    /// The resource does not know the verb.
    pub(super) fn no_verb_of(resource: &str, verb: &str) -> Self {
        let message = format!("{resource} can't be asked to {verb}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message, Details::default())
    }

    /// The answer's body.
    pub(super) fn status(&self) -> &impl Serialize {
        &self.0
    }

    /// Nothing is served there.
    pub(super) fn no_such_path(path: &str) -> Self {
        let message = format!("nothing is served at {path}");
        Self::new(StatusCode::NOT_FOUND, "NotFound", message, Details::default())
    }

    /// The path does not know the verb.
    pub(super) fn no_such_verb(method: &Method, path: &str) -> Self {
        let message = format!("{method} is not served at {path}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message, Details::default())
    }

    /// The agent can't answer now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message, Details::default())
    }
}

fn details(reference: &Reference) -> Details {
    Details {
        name: reference.name().to_owned(),
        group: GROUP,
        kind: reference.resource(),
        causes: Vec::new(),
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match &refusal {
            Refusal::NotFound(reference) => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", message, details(reference))
            }
            Refusal::AlreadyExists(reference) => {
                Self::new(StatusCode::CONFLICT, "AlreadyExists", message, details(reference))
            }
            Refusal::Conflict { reference, .. } => {
                Self::new(StatusCode::CONFLICT, "Conflict", message, details(reference))
            }
            Refusal::Owned { reference, .. } => {
                let details = Details { causes: causes(&refusal), ..details(reference) };
                Self::new(StatusCode::CONFLICT, "Conflict", message, details)
            }
            Refusal::Invalid { reference, .. } => {
                let details = Details { causes: causes(&refusal), ..details(reference) };
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message, details)
            }
            Refusal::Several(_) => {
                let details = Details { causes: causes(&refusal), ..Details::default() };
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message, details)
            }
            Refusal::Store(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message, Details::default())
            }
        }
    }
}

fn causes(refusal: &Refusal) -> Vec<Cause> {
    match refusal {
        Refusal::Invalid { fields, .. } => fields
            .iter()
            .map(|field| Cause {
                reason: "FieldValueInvalid",
                message: format!("{}: {} (found {})", field.problem, field.remedy, field.value),
                field: field.path.clone(),
            })
            .collect(),
        Refusal::Owned { fields, .. } => fields
            .iter()
            .map(|owned| Cause {
                reason: "FieldManagerConflict",
                message: format!("conflict with {:?} ({})", owned.manager, owned.operation),
                field: owned.field.clone(),
            })
            .collect(),
        Refusal::Several(all) => all.iter().flat_map(causes).collect(),
        Refusal::NotFound(_) | Refusal::AlreadyExists(_) | Refusal::Conflict { .. } | Refusal::Store(_) => {
            Vec::new()
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.0.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, Json(self.0)).into_response()
    }
}
