//! What a client of HTTP sends, for [`crate::fuzz`].

use axum::extract::FromRequestParts as _;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use serde_json::{Value, json};

use super::auth;
use super::body::{self, Change, DeleteOptions};
use super::query::{Parameters, Unknown};
use super::selector::Filter;
use super::target::Target;

/// A path with its query: parameters, label selectors, field selectors.
pub(crate) fn query(bytes: &[u8]) {
    let Ok(uri) = axum::http::Uri::try_from(bytes) else { return };
    let target = Target::of(uri.path());
    let Ok(request) = Request::get(uri).body(()) else { return };
    let (mut parts, ()) = request.into_parts();
    // It waits for nothing.
    let read = futures_util::FutureExt::now_or_never(Parameters::from_request_parts(&mut parts, &()));
    let (Some(Ok(parameters)), Some(target)) = (read, target) else { return };
    let Ok(filter) = Filter::new(&target, &parameters.labels, &parameters.fields) else { return };
    let object = json!({"metadata": {"name": "front", "namespace": "shop", "labels": {"app": "web"}}});
    let labels = [("app".to_owned(), "web".to_owned())].into();
    assert_eq!(filter.wants(&object), filter.wants_fields(&object) && filter.wants_labels(&labels));
    let _ = auth::access(&parts.method, parts.uri.path());
}

/// A content type, a line's end, and a body.
pub(crate) fn request(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (kind, text) = bytes.split_at(end);
    let Ok(kind) = HeaderValue::from_bytes(kind) else { return };
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    let text = text.get(1..).unwrap_or_default();
    drop(DeleteOptions::of(text).map(|options| (options.is_dry_run(), options.preconditions())));
    let path = "/apis/loadbalancer.harvesterhci.io/v1beta1/namespaces/shop/loadbalancers/front";
    let Some(target) = Target::of(path) else { return };
    let read = |value: Value| {
        for unknown in [Unknown::Refuse, Unknown::Warn, Unknown::Drop] {
            drop(body::manifest(&target, value.clone(), unknown));
        }
    };
    if let Ok(object) = body::object(&headers, text) {
        read(object);
    }
    match body::change(&headers, text) {
        Ok(Change::Merge(value) | Change::Apply(value)) => read(value),
        Ok(Change::Json(operations)) => {
            let mut object = json!({"metadata": {"name": "front"}, "spec": {"listeners": [{"port": 80}]}});
            drop(crate::control::admission::operate(&mut object, &operations));
            read(object);
        }
        Err(_) => {}
    }
}
