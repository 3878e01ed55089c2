//! The OpenAPI document, from which clients learn verbs, parameters and fields: `/openapi/v3` and below.

use axum::Json;
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::Api;
use super::discovery::roots;
use super::failure::Failure;
use super::review::{self, REVIEWS};
use super::target::{Named, SERVED, Served, Source};
use crate::model::schema::{self, Dialect};

/// Everything that Kubernetes' conventions have: all versions in one document.
pub fn document() -> Value {
    part(|_| true)
}

/// The routes of this file.
pub(super) fn router() -> axum::Router<Api> {
    axum::Router::new()
        .route("/openapi/v3", axum::routing::get(index))
        .route("/openapi/v3/{*version}", axum::routing::get(version))
}

/// Where the document of each version is.
async fn index() -> Json<Value> {
    let paths: Map<String, Value> = roots()
        .into_iter()
        .map(|root| {
            (
                root.trim_start_matches('/').to_owned(),
                json!({ "serverRelativeURL": format!("/openapi/v3{root}") }),
            )
        })
        .collect();
    Json(json!({ "paths": paths }))
}

async fn version(uri: Uri) -> Result<Json<Value>, Failure> {
    let root = uri.path().trim_start_matches("/openapi/v3");
    if !roots().iter().any(|known| known == root) {
        return Err(Failure::no_such_path(uri.path()));
    }
    Ok(Json(part(|served| served.root() == root)))
}

fn part(is_wanted: impl Fn(&Named) -> bool) -> Value {
    let stored = SERVED.iter().map(|served| (&**served, fields(served)));
    let reviews = REVIEWS.iter().map(|review| (review, review::schema(review)));
    let mut paths = Map::new();
    let mut schemas = Map::new();
    schemas.insert(
        "Status".into(),
        json!({ "type": "object", "description": "Kubernetes' answer to what fails" }),
    );
    for (served, mut schema) in stored.chain(reviews).filter(|(served, _)| is_wanted(served)) {
        let name = schema_name(served);
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("title");
            schema.insert("x-kubernetes-group-version-kind".into(), json!([kind(served)]));
        }
        let list = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "metadata": { "type": "object" },
                "items": { "type": "array", "items": reference(&name) },
            },
        });
        if served.allows("list") {
            schemas.insert(format!("{name}List"), list);
        }
        schemas.insert(name, schema);
        insert_paths(served, &mut paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "lb", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn insert_paths(served: &Named, paths: &mut Map<String, Value>) {
    let root = served.root();
    let resource = served.resource;
    let mut insert = |path: String, verbs: &[&str], parameters: &[&str]| {
        let operations: Map<String, Value> = verbs
            .iter()
            .filter(|verb| served.allows(verb))
            .map(|verb| operation(served, verb, &path))
            .collect();
        if operations.is_empty() {
            return;
        }
        let mut item = operations;
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        item.insert("parameters".into(), json!(parameters));
        paths.insert(path, Value::Object(item));
    };
    let (all, one) = (["list", "create", "deletecollection"], ["get", "update", "patch", "delete"]);
    if served.namespaced {
        let inside = format!("{root}/namespaces/{{namespace}}/{resource}");
        insert(format!("{root}/{resource}"), &["list", "deletecollection"], &[]);
        insert(inside.clone(), &all, &["namespace"]);
        insert(format!("{inside}/{{name}}"), &one, &["namespace", "name"]);
    } else {
        insert(format!("{root}/{resource}"), &all, &[]);
        insert(format!("{root}/{resource}/{{name}}"), &one, &["name"]);
    }
}

/// The method of a verb, and what there is to say of it.
fn operation(served: &Named, verb: &str, path: &str) -> (String, Value) {
    let name = schema_name(served);
    let (method, action, parameters, answer): (_, _, &[&str], _) = match verb {
        "list" => ("get", "list", LIST, format!("{name}List")),
        "create" => ("post", "post", WRITE, name.clone()),
        "deletecollection" => (
            "delete",
            "deletecollection",
            &["dryRun", "labelSelector", "fieldSelector"],
            format!("{name}List"),
        ),
        "update" => ("put", "put", WRITE, name.clone()),
        "patch" => ("patch", "patch", PATCH, name.clone()),
        "delete" => ("delete", "delete", &["dryRun", "propagationPolicy"], "Status".to_owned()),
        _ => ("get", "get", &[], name.clone()),
    };
    let place = if path.contains("{namespace}") { "Namespaced" } else { "" };
    let parameters: Vec<Value> = parameters.iter().map(|name| parameter(name)).collect();
    let mut operation = json!({
        "operationId": format!("{action}{place}{}{}", served.kind, served.version),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind(served),
        "parameters": parameters,
        "responses": {
            "200": { "description": "OK", "content": { "application/json": { "schema": reference(&answer) } } },
            "default": { "description": "refused", "content": { "application/json": { "schema": reference("Status") } } },
        },
    });
    if let (Some(map), Some(content)) = (operation.as_object_mut(), body(verb, &name)) {
        map.insert("requestBody".into(), json!({ "required": true, "content": content }));
    }
    if verb == "create"
        && let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut)
    {
        let created = responses.get("200").cloned().unwrap_or_default();
        responses.insert("201".into(), created);
    }
    (method.to_owned(), operation)
}

/// What is sent, by media type.
fn body(verb: &str, name: &str) -> Option<Value> {
    let object = json!({ "schema": { "type": "object" } });
    match verb {
        "create" | "update" => Some(json!({
            "application/json": { "schema": reference(name) },
            "application/yaml": { "schema": reference(name) },
        })),
        "patch" => Some(json!({
            "application/json-patch+json": { "schema": { "type": "array", "items": { "type": "object" } } },
            "application/merge-patch+json": object,
            "application/apply-patch+yaml": object,
        })),
        _ => None,
    }
}

const LIST: &[&str] = &[
    "labelSelector",
    "fieldSelector",
    "resourceVersion",
    "resourceVersionMatch",
    "watch",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "timeoutSeconds",
    "limit",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];

fn parameter(name: &str) -> Value {
    let schema = match name {
        "watch" | "allowWatchBookmarks" | "sendInitialEvents" | "force" => json!({ "type": "boolean" }),
        "timeoutSeconds" | "limit" => json!({ "type": "integer", "minimum": 0 }),
        "dryRun" => json!({ "type": "string", "enum": ["All"] }),
        "fieldValidation" => json!({ "type": "string", "enum": ["Ignore", "Warn", "Strict"] }),
        "resourceVersionMatch" => json!({ "type": "string", "enum": ["Exact", "NotOlderThan"] }),
        "propagationPolicy" => json!({ "type": "string", "enum": ["Background", "Foreground", "Orphan"] }),
        _ => json!({ "type": "string" }),
    };
    json!({ "name": name, "in": "query", "schema": schema })
}

fn fields(served: &Served) -> Value {
    if served.is_old() {
        // Old clients know their version, and new ones use the other.
        return json!({ "type": "object", "description": "Deprecated: use v1beta1", "x-kubernetes-preserve-unknown-fields": true });
    }
    match served.source {
        Source::LoadBalancers => schema::load_balancer(Dialect::OpenApi),
        Source::IpPools => schema::ip_pool(Dialect::OpenApi),
        Source::Events => json!({ "type": "object", "description": "What has become of a load balancer" }),
    }
}

fn kind(served: &Named) -> Value {
    json!({ "group": served.group, "version": served.version, "kind": served.kind })
}

/// `io.harvesterhci.loadbalancer.v1beta1.LoadBalancer`, as Kubernetes turns groups round.
fn schema_name(served: &Named) -> String {
    if served.group.is_empty() {
        return format!("io.k8s.api.core.{}.{}", served.version, served.kind);
    }
    let group: Vec<&str> = served.group.rsplit('.').collect();
    format!("{}.{}.{}", group.join("."), served.version, served.kind)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
