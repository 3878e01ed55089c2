//! The form of an answer that a client accepts: objects, tables for people, or metadata alone.

mod table;

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::failure::Failure;
use super::target::{Served, Target};

/// The form of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Objects as they are.
    Objects,
    /// Rows, which kubectl prints.
    Table,
    /// `PartialObjectMetadata`.
    Metadata,
}

impl Form {
    /// The first that is served of those that an `Accept` header names.
    fn of(accept: &str) -> Self {
        for media_type in accept.split(',') {
            let mut parts = media_type.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "*/*" | "application/*")) {
                continue;
            }
            let (mut form, mut version) = (None, None);
            for part in parts {
                match part.split_once('=') {
                    Some(("as", value)) => form = Some(value),
                    Some(("v", value)) => version = Some(value),
                    Some(_) | None => {}
                }
            }
            match (form, version) {
                (None, _) => return Self::Objects,
                (Some("Table"), Some("v1")) => return Self::Table,
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("v1")) => {
                    return Self::Metadata;
                }
                (Some(_), _) => {}
            }
        }
        Self::Objects
    }

    /// Many objects.
    pub(super) fn list(self, target: &Target, revision: u64, items: Vec<Value>, include: &str) -> Value {
        let metadata = json!({ "resourceVersion": revision.to_string() });
        let served = target.served;
        match self {
            Self::Objects => json!({
                "apiVersion": served.api_version(),
                "kind": format!("{}List", served.kind),
                "metadata": metadata,
                "items": items,
            }),
            Self::Table => table::table(served, &metadata, items, include, Timestamp::now()),
            Self::Metadata => json!({
                "apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadataList",
                "metadata": metadata,
                "items": items.into_iter().map(partial).collect::<Vec<_>>(),
            }),
        }
    }

    /// One object.
    pub(super) fn one(self, served: &Served, object: Value, include: &str) -> Value {
        match self {
            Self::Objects => object,
            Self::Table => {
                let revision = object.pointer("/metadata/resourceVersion").cloned();
                let metadata = json!({ "resourceVersion": revision });
                table::table(served, &metadata, vec![object], include, Timestamp::now())
            }
            Self::Metadata => partial(object),
        }
    }
}

/// Kind and metadata of an object.
fn partial(mut object: Value) -> Value {
    let metadata = object.get_mut("metadata").map(Value::take);
    json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata })
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        Ok(Self::of(accept.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_is_served_is_taken() {
        for (accept, form) in [
            ("", Form::Objects),
            ("application/json", Form::Objects),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Form::Table,
            ),
            ("application/json;as=Table;g=meta.k8s.io;v=v1beta1, application/json", Form::Objects),
            ("application/vnd.kubernetes.protobuf,application/json", Form::Objects),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Form::Metadata),
        ] {
            assert_eq!(Form::of(accept), form, "{accept}");
        }
    }
}
