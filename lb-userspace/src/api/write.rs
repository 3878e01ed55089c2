//! `create`, `update`, `patch`, `delete` and `deletecollection`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use super::body::{self, Change as PatchBody, DeleteOptions};
use super::failure::Failure;
use super::form::Form;
use super::old::{self, Wanted};
use super::query::Parameters;
use super::selector::Filter;
use super::target::{Source, Target};
use super::warning;
use crate::control::admission::{Change, Intent, Outcome, Patch, Preconditions, Reference};
use crate::model::meta::NamespacedName;
use crate::model::parse::Manifest;

pub(super) type Answer = Result<Response, Failure>;

/// How often is looked again after another writer was faster.
pub(super) const RACES: usize = 8;

pub(super) async fn create(
    State(api): State<Api>,
    target: Target,
    query: Parameters,
    form: Form,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    target.check_verb("create")?;
    let object = body::object(&headers, &body)?;
    let (object, old) =
        if target.served.is_old() { api.converted(&target, &object, None) } else { (object, Vec::new()) };
    let (manifest, mut warnings) = body::manifest(&target, object, query.unknown)?;
    warnings.extend(old);
    api.answer(Intent::Create(manifest), &target, &query, form, warnings).await
}

pub(super) async fn replace(
    State(api): State<Api>,
    target: Target,
    query: Parameters,
    form: Form,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    target.check_verb("update")?;
    let object = body::object(&headers, &body)?;
    if target.served.is_old() {
        return old::write(&api, &target, &query, form, Wanted::Object(object)).await;
    }
    let (manifest, warnings) = body::manifest(&target, object, query.unknown)?;
    api.answer(Intent::Replace(manifest), &target, &query, form, warnings).await
}

pub(super) async fn patch(
    State(api): State<Api>,
    target: Target,
    query: Parameters,
    form: Form,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    target.check_verb("patch")?;
    let change = body::change(&headers, &body)?;
    if target.served.is_old() {
        return old::write(&api, &target, &query, form, Wanted::Change(change)).await;
    }
    let reference = target.reference()?;
    let (intent, warnings) = match change {
        PatchBody::Merge(mut changes) => {
            let warnings = body::known_fields(&target, &mut changes, query.unknown);
            (Intent::Patch(reference, Patch::Merge(changes)), warnings)
        }
        PatchBody::Json(operations) => (Intent::Patch(reference, Patch::Json(operations)), Vec::new()),
        PatchBody::Apply(manifest) => target.application(manifest, &query)?,
    };
    api.answer(intent, &target, &query, form, warnings).await
}

pub(super) async fn delete(
    State(api): State<Api>,
    target: Target,
    query: Parameters,
    form: Form,
    body: Bytes,
) -> Answer {
    target.check_verb("delete")?;
    let options = DeleteOptions::of(&body)?;
    let query = Parameters { dry_run: query.dry_run || options.is_dry_run(), ..query };
    let intent = Intent::Delete(target.reference()?, options.preconditions());
    api.answer(intent, &target, &query, form, Vec::new()).await
}

pub(super) async fn delete_collection(
    State(api): State<Api>,
    target: Target,
    query: Parameters,
    form: Form,
    body: Bytes,
) -> Answer {
    target.check_verb("deletecollection")?;
    let filter = Filter::new(&target, &query.labels, &query.fields)?;
    let options = DeleteOptions::of(&body)?;
    let query = Parameters { dry_run: query.dry_run || options.is_dry_run(), ..query };
    for _ in 0..RACES {
        let (revision, items) = api.objects(&target, &filter);
        match api.try_submit(deletions(&target, &items)?, &query.manager, query.dry_run).await? {
            // One that another has deleted is as gone as it should be: what is left is looked at again.
            Err(refusal) if refusal.is_lost_race() => {}
            Err(refusal) => return Err(refusal.into()),
            Ok(_) => {
                let items = items.into_iter().map(|object| target.served.shown(object)).collect();
                return Ok(Json(form.list(&target, revision, items, &query.include)).into_response());
            }
        }
    }
    Err(Failure::conflict("the objects change faster than they are deleted; repeat"))
}

/// The deletions of exactly these objects.
fn deletions(target: &Target, items: &[Value]) -> Result<Vec<Intent>, Failure> {
    let intent = |object: &Value| {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let target = Target {
            namespace: Some(text("/metadata/namespace").to_owned()),
            name: Some(text("/metadata/name").to_owned()),
            served: target.served,
        };
        let preconditions =
            Preconditions { uid: text("/metadata/uid").to_owned(), ..Preconditions::default() };
        Ok(Intent::Delete(target.reference()?, preconditions))
    };
    items.iter().map(intent).collect()
}

impl Api {
    /// Carries out one intent and answers with what has become of its object.
    pub(super) async fn answer(
        &self,
        intent: Intent,
        target: &Target,
        query: &Parameters,
        form: Form,
        warnings: Vec<String>,
    ) -> Answer {
        let mut outcomes = self.submit(vec![intent], &query.manager, query.dry_run).await?;
        let Some(Outcome { object, change, warnings: told }) = outcomes.pop() else {
            return Err(Failure::unavailable("the request had no outcome"));
        };
        let object = target.served.shown(value(&object));
        let (code, answer) = match change {
            Change::Created => (StatusCode::CREATED, form.one(target.served, object, &query.include)),
            Change::Deleted => (StatusCode::OK, deleted(target, &object)),
            Change::Configured | Change::Unchanged | Change::Terminating => {
                (StatusCode::OK, form.one(target.served, object, &query.include))
            }
        };
        let mut response = (code, Json(answer)).into_response();
        warning::add(&mut response, warnings.into_iter().chain(told));
        Ok(response)
    }
}

/// Kubernetes' word for a deletion that is done.
fn deleted(target: &Target, object: &Value) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {
            "name": object.pointer("/metadata/name"),
            "group": target.served.group,
            "kind": target.served.resource,
            "uid": object.pointer("/metadata/uid"),
        },
    })
}

/// The object as JSON.
pub(super) fn value(object: &Manifest) -> Value {
    match object {
        Manifest::LoadBalancer(object) => json!(object),
        Manifest::IpPool(object) => json!(object),
    }
}

impl Target {
    /// The object's identity.
    pub(super) fn key(&self) -> NamespacedName {
        NamespacedName::new(self.namespace(), self.name())
    }

    /// The object, as admission names it.
    ///
    /// # Errors
    /// When admission does not know such objects: there is none of that name.
    pub(super) fn reference(&self) -> Result<Reference, Failure> {
        match self.served.source {
            Source::LoadBalancers => Ok(Reference::LoadBalancer(self.key())),
            Source::IpPools => Ok(Reference::IpPool(self.name().to_owned())),
            Source::Events => {
                Err(Failure::not_found(format!("there is no {} {}", self.served.singular, self.name())))
            }
        }
    }

    fn check_verb(&self, verb: &str) -> Result<(), Failure> {
        if self.served.allows(verb) {
            return Ok(());
        }
        Err(Failure::no_verb_of(self.served.resource, verb))
    }

    /// What server-side apply wants, and warnings about what it leaves out.
    pub(super) fn application(
        &self,
        mut manifest: Value,
        query: &Parameters,
    ) -> Result<(Intent, Vec<String>), Failure> {
        let (_, warnings) = body::manifest(self, manifest.clone(), query.unknown)?;
        body::known_fields(self, &mut manifest, query.unknown);
        self.complete(&mut manifest)?;
        let reference = self.reference()?;
        Ok((Intent::ApplyFields { reference, manifest, force: query.force }, warnings))
    }

    /// Gives an applied manifest the path's name and namespace.
    fn complete(&self, manifest: &mut Value) -> Result<(), Failure> {
        if manifest
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .is_some_and(|all| !all.is_empty())
        {
            return Err(Failure::bad_request("metadata.managedFields: not to be applied; leave it out"));
        }
        let Some(top) = manifest.as_object_mut() else {
            return Err(Failure::bad_request("the body is no object"));
        };
        let metadata = top.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".to_owned(), json!(self.name()));
            if self.served.namespaced {
                metadata.insert("namespace".to_owned(), json!(self.namespace()));
            } else {
                metadata.remove("namespace");
            }
        }
        Ok(())
    }
}
