//! LoadBalancer: list, read, create, replace, patch, delete.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Api;
use super::failure::Failure;
use super::query::Parameters;
use crate::control::admission::{Intent, Reference, Refusal};
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::{API_VERSION, NamespacedName};
use crate::model::parse::{self, Manifest};

type Answer = Result<Json<Value>, Failure>;

pub(super) async fn list_all(State(api): State<Api>, Query(query): Query<Parameters>) -> Answer {
    query.check_list()?;
    Ok(Json(items(&api, |_| true)))
}

pub(super) async fn list(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(query): Query<Parameters>,
) -> Answer {
    query.check_list()?;
    Ok(Json(items(&api, |object| object.metadata.namespace == namespace)))
}

fn items(api: &Api, is_wanted: impl Fn(&LoadBalancer) -> bool) -> Value {
    let resources = api.registry.snapshot();
    let items: Vec<_> =
        resources.load_balancers.values().map(Arc::as_ref).filter(|object| is_wanted(object)).collect();
    json!({
        "apiVersion": API_VERSION,
        "kind": "LoadBalancerList",
        "metadata": { "resourceVersion": resources.revision.to_string() },
        "items": items,
    })
}

pub(super) async fn read(State(api): State<Api>, Path((namespace, name)): Path<(String, String)>) -> Answer {
    let key = NamespacedName::new(namespace, name);
    let resources = api.registry.snapshot();
    match resources.load_balancers.get(&key) {
        Some(object) => Ok(Json(json!(**object))),
        None => Err(Refusal::NotFound(Reference::LoadBalancer(key)).into()),
    }
}

pub(super) async fn create(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(query): Query<Parameters>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let object = parsed(&body, &namespace, None)?;
    let intent = Intent::Create(Manifest::LoadBalancer(Box::new(object)));
    let Json(created) = api.submit_one(intent, &query).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

pub(super) async fn replace(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<Parameters>,
    body: Bytes,
) -> Answer {
    let object = parsed(&body, &namespace, Some(&name))?;
    api.submit_one(Intent::Replace(Manifest::LoadBalancer(Box::new(object))), &query).await
}

pub(super) async fn patch(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let patch = super::ip_pools::merge_patch(&headers, &body)?;
    let reference = Reference::LoadBalancer(NamespacedName::new(namespace, name));
    api.submit_one(Intent::Patch(reference, patch), &query).await
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<Parameters>,
) -> Answer {
    let reference = Reference::LoadBalancer(NamespacedName::new(namespace, name));
    api.submit_one(Intent::Delete(reference), &query).await
}

/// The body, in the namespace and with the name of the path.
fn parsed(body: &[u8], namespace: &str, name: Option<&str>) -> Result<LoadBalancer, Failure> {
    let mut object: LoadBalancer = parse::json(body).map_err(|error| Failure::unreadable(&error))?;
    super::ip_pools::agree("metadata.namespace", &mut object.metadata.namespace, namespace)?;
    if let Some(name) = name {
        super::ip_pools::agree("metadata.name", &mut object.metadata.name, name)?;
    }
    Ok(object)
}
