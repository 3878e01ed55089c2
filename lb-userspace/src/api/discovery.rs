//! What is served, for clients that ask before they do anything: `/version`, `/api`, `/apis` and below.

use axum::Json;
use axum::http::Uri;
use serde_json::{Value, json};

use super::Api;
use super::failure::Failure;
use super::review::REVIEWS;
use super::target::{Named, SERVED};

/// Kubernetes' minor version whose conventions are kept.
const MINOR: u32 = 36;

pub(super) async fn version() -> Json<Value> {
    let own = env!("CARGO_PKG_VERSION");
    Json(json!({
        "major": "1", "minor": MINOR.to_string(), "gitVersion": format!("v1.{MINOR}.0+lb-{own}"),
        "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    }))
}

pub(super) async fn core() -> Json<Value> {
    let served = all().any(|served| served.group.is_empty());
    let versions: &[&str] = if served { &["v1"] } else { &[] };
    Json(json!({ "kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": [] }))
}

pub(super) async fn groups() -> Json<Value> {
    Json(
        json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": group_names().map(group).collect::<Vec<_>>() }),
    )
}

pub(super) async fn one_group(uri: Uri) -> Result<Json<Value>, Failure> {
    let name = uri.path().trim_start_matches("/apis/").trim_end_matches('/');
    let Some(name) = group_names().find(|group| *group == name) else {
        return Err(Failure::no_such_path(uri.path()));
    };
    let mut group = group(name);
    if let Some(map) = group.as_object_mut() {
        map.insert("kind".into(), json!("APIGroup"));
        map.insert("apiVersion".into(), json!("v1"));
    }
    Ok(Json(group))
}

/// The resources of one version.
pub(super) async fn resources(uri: Uri) -> Json<Value> {
    let path = uri.path().trim_end_matches('/');
    let of_version = all().filter(|served| served.root() == path);
    let version = path.trim_start_matches("/apis/").trim_start_matches("/api/");
    Json(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
        "resources": of_version.map(resource).collect::<Vec<_>>(),
    }))
}

/// The routes of this file.
pub(super) fn router() -> axum::Router<Api> {
    use axum::routing::get;
    let mut router = axum::Router::new()
        .route("/version", get(version))
        .route("/api", get(core))
        .route("/apis", get(groups));
    for group in group_names() {
        router = router.route(&format!("/apis/{group}"), get(one_group));
    }
    for root in roots() {
        router = router.route(&root, get(resources));
    }
    router
}

/// The paths of all versions, each once.
pub(super) fn roots() -> Vec<String> {
    let mut roots = Vec::new();
    for root in all().map(Named::root) {
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    roots
}

/// Everything that can be asked for.
fn all() -> impl Iterator<Item = &'static Named> {
    SERVED.iter().map(|served| &**served).chain(REVIEWS)
}

fn group_names() -> impl Iterator<Item = &'static str> {
    let mut seen = Vec::new();
    all().map(|served| served.group).filter(move |group| {
        let is_new = !group.is_empty() && !seen.contains(group);
        seen.push(*group);
        is_new
    })
}

fn group(name: &str) -> Value {
    let mut versions: Vec<Value> = Vec::new();
    for served in all().filter(|served| served.group == name) {
        let version = json!({ "groupVersion": served.api_version(), "version": served.version });
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    json!({ "name": name, "preferredVersion": versions.first(), "versions": versions })
}

fn resource(served: &Named) -> Value {
    json!({
        "name": served.resource, "singularName": served.singular, "namespaced": served.namespaced,
        "kind": served.kind, "verbs": served.verbs, "shortNames": served.short_names,
    })
}
