//! What somebody may do, asked by themselves: `kubectl auth can-i` and `kubectl auth whoami`. Nothing is stored.
//!
//! Input: a review of Kubernetes without its status. Output: the same with it, by the rules of every other request (`auth`).

mod protobuf;
mod rules;

use axum::body::Bytes;
use axum::extract::Extension;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Api;
use super::auth::Identity;
use super::body;
use super::failure::Failure;
use super::target::Named;
use rules::{Wish, WishedPath};

/// What can be asked.
pub(super) const REVIEWS: &[Named] = &[ACCESS, RULES, SELF];

const ACCESS: Named = Named {
    group: "authorization.k8s.io",
    version: "v1",
    resource: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    kind: "SelfSubjectAccessReview",
    short_names: &[],
    namespaced: false,
    verbs: &["create"],
};
const RULES: Named = Named {
    resource: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    kind: "SelfSubjectRulesReview",
    ..ACCESS
};
const SELF: Named = Named {
    group: "authentication.k8s.io",
    resource: "selfsubjectreviews",
    singular: "selfsubjectreview",
    kind: "SelfSubjectReview",
    ..ACCESS
};

/// An object as it was sent.
type Fields = serde_json::Map<String, Value>;

/// The routes of this folder.
pub(super) fn router() -> Router<Api> {
    let path = |review: &Named| format!("{}/{}", review.root(), review.resource);
    Router::new()
        .route(&path(&ACCESS), post(access))
        .route(&path(&RULES), post(rules))
        .route(&path(&SELF), post(who))
}

/// The fields of a review, for the OpenAPI document.
pub(super) fn schema(review: &Named) -> Value {
    let text = json!({ "type": "string" });
    let object = |fields: Value| json!({ "type": "object", "properties": fields });
    let wish = object(json!({
        "namespace": text, "verb": text, "group": text, "version": text, "resource": text, "subresource": text, "name": text,
    }));
    let spec = match review.resource {
        "selfsubjectaccessreviews" => object(json!({
            "resourceAttributes": wish, "nonResourceAttributes": object(json!({ "path": text, "verb": text })),
        })),
        "selfsubjectrulesreviews" => object(json!({ "namespace": text })),
        _ => json!({ "type": "object" }),
    };
    let mut schema = object(json!({
        "apiVersion": text, "kind": text, "metadata": { "type": "object" }, "spec": spec, "status": { "type": "object" },
    }));
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(
            "description".to_owned(),
            json!("What the sender may do, or who it is; nothing is stored"),
        );
    }
    schema
}

/// May the sender do this?
async fn access(
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Spec {
        resource_attributes: Option<Fields>,
        non_resource_attributes: Option<Fields>,
    }
    let (review, spec) = read(&ACCESS, &headers, &body)?;
    let spec: Spec = parse(&spec)?;
    let refusal = match (spec.resource_attributes, spec.non_resource_attributes) {
        (Some(wish), None) => rules::refusal(&identity, &parse::<Wish>(&wish)?),
        (None, Some(path)) => rules::refusal_of_path(&identity, &parse::<WishedPath>(&path)?),
        (Some(_), Some(_)) | (None, None) => {
            let problem = "spec: exactly one of resourceAttributes and nonResourceAttributes is asked for";
            return Err(Failure::bad_request(problem));
        }
    };
    let reason = refusal.clone().unwrap_or_else(|| identity.standing());
    Ok(answer(review, &json!({ "allowed": refusal.is_none(), "reason": reason })))
}

/// What may the sender do in a namespace?
async fn rules(
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Spec {
        namespace: String,
    }
    let (review, spec) = read(&RULES, &headers, &body)?;
    let spec: Spec = parse(&spec)?;
    Ok(answer(review, &rules::all(&identity, &spec.namespace)))
}

/// Who is the sender?
async fn who(
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let (review, _) = read(&SELF, &headers, &body)?;
    let mut user = json!({ "username": identity.name, "groups": [identity.grant.role.name()] });
    if let (Some(user), false) = (user.as_object_mut(), identity.grant.namespaces.is_empty()) {
        user.insert("extra".to_owned(), json!({ "namespaces": identity.grant.namespaces }));
    }
    Ok(answer(review, &json!({ "userInfo": user })))
}

/// The review as it was sent, and what it asks.
fn read(review: &Named, headers: &HeaderMap, body: &[u8]) -> Result<(Value, Fields), Failure> {
    let object = if body::media_type(headers) == protobuf::MEDIA_TYPE {
        let wrong = || Failure::bad_request("the body is no review in Kubernetes' binary form");
        protobuf::object(body).ok_or_else(wrong)?
    } else {
        body::object(headers, body)?
    };
    let is = |field: &str, wanted: &str| object.get(field).is_none_or(|found| found == wanted);
    if !object.is_object() || !is("kind", review.kind) || !is("apiVersion", &review.api_version()) {
        return Err(Failure::bad_request(format!("send a {} of {}", review.kind, review.api_version())));
    }
    let spec = match object.get("spec") {
        None | Some(Value::Null) => Fields::new(),
        Some(Value::Object(spec)) => spec.clone(),
        Some(_) => return Err(Failure::bad_request("spec: it is no object")),
    };
    Ok((json!({ "kind": review.kind, "apiVersion": review.api_version(), "spec": spec }), spec))
}

fn parse<T: DeserializeOwned>(fields: &Fields) -> Result<T, Failure> {
    serde_json::from_value(json!(fields)).map_err(|error| Failure::bad_request(format!("spec: {error}")))
}

/// Kubernetes answers as if the review had been created.
fn answer(mut review: Value, status: &Value) -> (StatusCode, Json<Value>) {
    if let Some(review) = review.as_object_mut() {
        review.insert("metadata".to_owned(), json!({ "creationTimestamp": null }));
        review.insert("status".to_owned(), status.clone());
    }
    (StatusCode::CREATED, Json(review))
}
