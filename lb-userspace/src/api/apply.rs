//! `/lb/v1/apply`: several objects as one transaction.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::auth::Identity;
use super::failure::Failure;
use super::old;
use super::query::Parameters;
use super::target::{SERVED, Target};
use super::write;
use crate::control::admission::{Intent, Outcome, Refusal};
use crate::control::registry::Submission;
use crate::model::grant::Access;
use crate::model::parse::{self, Manifest};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    items: Vec<Value>,
}

/// Creates or replaces all items, or none.
pub(super) async fn apply(
    State(api): State<Api>,
    Extension(identity): Extension<Identity>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<Value>, Failure> {
    let request: Request = parse::json(&body).map_err(|error| Failure::unreadable(&error))?;
    let (mut intents, mut warnings) = (Vec::new(), Vec::new());
    for (index, item) in request.items.into_iter().enumerate() {
        let (item, left_out) = api.of_any_version(item);
        warnings.extend(left_out.into_iter().map(|warning| format!("items[{index}].{warning}")));
        let manifest = manifest(&item).map_err(|mut error| {
            error.path = format!("items[{index}].{}", error.path);
            Failure::unreadable(&error)
        })?;
        identity.check(access(&manifest), &format!("to apply items[{index}]"))?;
        intents.push(Intent::Apply(manifest));
    }
    let outcomes = api.submit(intents, &query.manager, query.dry_run).await?;
    warnings.extend(outcomes.iter().flat_map(|outcome| outcome.warnings.iter().cloned()));
    let item = |outcome: &Outcome| json!({ "object": write::value(&outcome.object), "outcome": outcome.change.word() });
    Ok(Json(json!({ "items": outcomes.iter().map(item).collect::<Vec<_>>(), "warnings": warnings })))
}

fn access(manifest: &Manifest) -> Access<'_> {
    match manifest {
        Manifest::LoadBalancer(object) => Access::Edit(&object.metadata.namespace),
        Manifest::IpPool(_) => Access::Rule,
    }
}

fn manifest(item: &Value) -> Result<Manifest, parse::ParseError> {
    let text = item.to_string();
    match item.get("kind").and_then(Value::as_str) {
        Some(crate::model::load_balancer::KIND) => parse::json(text.as_bytes()).map(Manifest::LoadBalancer),
        Some(crate::model::ip_pool::KIND) => parse::json(text.as_bytes()).map(Manifest::IpPool),
        other => Err(parse::ParseError {
            path: "kind".into(),
            line: 0,
            column: 0,
            message: format!("{:?} is not known: use LoadBalancer or IPPool", other.unwrap_or_default()),
        }),
    }
}

impl Api {
    /// The object as it is stored, and what that leaves out.
    fn of_any_version(&self, object: Value) -> (Value, Vec<String>) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let served = SERVED.iter().find(|served| {
            served.kind == text("/kind") && served.api_version() == text("/apiVersion") && served.is_old()
        });
        let Some(served) = served else { return (object, Vec::new()) };
        let (namespace, name) = (text("/metadata/namespace").to_owned(), text("/metadata/name").to_owned());
        let target = Target { served, namespace: Some(namespace), name: Some(name) };
        let stored = self.object(&target).ok();
        let (mut object, warnings) = self.converted(&target, &object, stored.as_ref());
        if let Some(stored) = &stored {
            old::note(&mut object, stored);
        }
        (object, warnings)
    }

    /// Hands intents to control; what is refused is refused whole.
    pub(super) async fn submit(
        &self,
        intents: Vec<Intent>,
        manager: &str,
        dry_run: bool,
    ) -> Result<Vec<Outcome>, Failure> {
        Ok(self.try_submit(intents, manager, dry_run).await??)
    }

    /// As [`Api::submit`]; a refusal can be looked at.
    pub(super) async fn try_submit(
        &self,
        intents: Vec<Intent>,
        manager: &str,
        dry_run: bool,
    ) -> Result<Result<Vec<Outcome>, Refusal>, Failure> {
        let registry = self.registry.clone();
        let manager = manager.to_owned();
        // A commit waits for the disk.
        let submitted = tokio::task::spawn_blocking(move || {
            registry.submit(&Submission { intents: &intents, manager: &manager, dry_run })
        });
        submitted
            .await
            .map_err(|error| Failure::unavailable(format!("the request was not finished: {error}")))
    }
}
