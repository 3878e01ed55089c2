//! IPPool: list, read, create, replace, patch, delete.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::Api;
use super::failure::Failure;
use super::query::Parameters;
use crate::control::admission::{Intent, Reference, Refusal};
use crate::model::ip_pool::IpPool;
use crate::model::meta::API_VERSION;
use crate::model::parse::{self, Manifest};

type Answer = Result<Json<Value>, Failure>;

pub(super) async fn list(State(api): State<Api>, Query(query): Query<Parameters>) -> Answer {
    query.check_list()?;
    let resources = api.registry.snapshot();
    Ok(Json(json!({
        "apiVersion": API_VERSION,
        "kind": "IPPoolList",
        "metadata": { "resourceVersion": resources.revision.to_string() },
        "items": resources.pools.values().collect::<Vec<_>>(),
    })))
}

pub(super) async fn read(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let resources = api.registry.snapshot();
    match resources.pools.get(&name) {
        Some(object) => Ok(Json(json!(object))),
        None => Err(Refusal::NotFound(Reference::IpPool(name)).into()),
    }
}

pub(super) async fn create(
    State(api): State<Api>,
    Query(query): Query<Parameters>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let intent = Intent::Create(Manifest::IpPool(Box::new(parsed(&body, None)?)));
    let Json(created) = api.submit_one(intent, &query).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

pub(super) async fn replace(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<Parameters>,
    body: Bytes,
) -> Answer {
    let object = parsed(&body, Some(&name))?;
    api.submit_one(Intent::Replace(Manifest::IpPool(Box::new(object))), &query).await
}

pub(super) async fn patch(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let patch = merge_patch(&headers, &body)?;
    api.submit_one(Intent::Patch(Reference::IpPool(name), patch), &query).await
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<Parameters>,
) -> Answer {
    api.submit_one(Intent::Delete(Reference::IpPool(name)), &query).await
}

fn parsed(body: &[u8], name: Option<&str>) -> Result<IpPool, Failure> {
    let mut object: IpPool = parse::json(body).map_err(|error| Failure::unreadable(&error))?;
    object.metadata.namespace.clear();
    if let Some(name) = name {
        agree("metadata.name", &mut object.metadata.name, name)?;
    }
    Ok(object)
}

/// A field that the path says as well: empty takes the path's word, another word is refused.
pub(super) fn agree(field: &str, value: &mut String, path: &str) -> Result<(), Failure> {
    if value.is_empty() {
        path.clone_into(value);
    }
    if value == path {
        return Ok(());
    }
    Err(Failure::bad_request(format!("{field}: {value:?} is not the path's {path:?}; make them equal")))
}

/// The patch of a body (RFC 7396).
pub(super) fn merge_patch(headers: &HeaderMap, body: &[u8]) -> Result<Value, Failure> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/merge-patch+json");
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !matches!(media_type, "application/merge-patch+json" | "application/json") {
        return Err(Failure::unsupported_patch(content_type));
    }
    parse::json(body).map_err(|error| Failure::unreadable(&error))
}
