//! `get` and `list`, and the way to `watch`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::Api;
use super::auth::Identity;
use super::failure::Failure;
use super::form::Form;
use super::query::{Parameters, Since};
use super::selector::Filter;
use super::target::{Source, Target};
use super::watch;
use crate::control::admission::Refusal;
use crate::control::changes::Changes;
use crate::control::journal::NotKnown;
use crate::model::grant::Access;

pub(super) async fn get(
    State(api): State<Api>,
    Extension(identity): Extension<Identity>,
    target: Target,
    query: Parameters,
    form: Form,
) -> Result<Json<Value>, Failure> {
    let object = api.object(&target)?;
    if !wanted_by(&identity, &target, "", "")?.wants_fields(&object) {
        return Err(Refusal::NotFound(target.reference()?).into());
    }
    let object = target.served.shown(object);
    Ok(Json(form.one(target.served, object, &query.include)))
}

pub(super) async fn list(
    State(api): State<Api>,
    Extension(identity): Extension<Identity>,
    target: Target,
    query: Parameters,
    form: Form,
) -> Result<Response, Failure> {
    let filter = wanted_by(&identity, &target, &query.labels, &query.fields)?;
    if query.watch {
        return watch::watch(&api, target, &query, form, filter);
    }
    let (revision, items) = api.objects(&target, &filter);
    if let Since::Revision(asked) = query.since
        && (asked > revision || (query.exact && asked != revision))
    {
        // Old states are not kept, and new ones are not waited for.
        return Err(Failure::expired(&NotKnown { asked, oldest: revision, newest: revision }));
    }
    let items = items.into_iter().map(|object| target.served.shown(object)).collect();
    Ok(Json(form.list(&target, revision, items, &query.include)).into_response())
}

/// What a reader is shown of what it asks for. Events of a pool are in the namespace `default`, as Kubernetes has them, and
/// name load balancers of any: who may read one namespace may not read them there.
fn wanted_by(identity: &Identity, target: &Target, labels: &str, fields: &str) -> Result<Filter, Failure> {
    let mut filter = Filter::new(target, labels, fields)?;
    if target.served.source == Source::Events && !identity.grant.allows(Access::Read(None)) {
        filter.within_namespaces();
    }
    Ok(filter)
}

impl Api {
    /// The object that a target names.
    pub(super) fn object(&self, target: &Target) -> Result<Value, Failure> {
        let resources = self.registry.snapshot();
        let found = match target.served.source {
            Source::LoadBalancers => {
                resources.load_balancers.get(&target.key()).map(|object| json!(**object))
            }
            Source::IpPools => resources.pools.get(target.name()).map(|object| json!(object)),
            Source::Events => self.event(target),
        };
        match found {
            Some(object) => Ok(object),
            None => Err(Refusal::NotFound(target.reference()?).into()),
        }
    }

    /// The objects of a target that are wanted, and their revision.
    pub(super) fn objects(&self, target: &Target, filter: &Filter) -> (u64, Vec<Value>) {
        let resources = self.registry.snapshot();
        let wanted = |object: &Value| filter.wants(object);
        let items = match target.served.source {
            Source::LoadBalancers => {
                resources.load_balancers.values().map(|object| json!(**object)).filter(wanted).collect()
            }
            Source::IpPools => resources.pools.values().map(|object| json!(object)).filter(wanted).collect(),
            Source::Events => {
                let (revision, events) = self.registry.events().snapshot();
                return (revision, events.into_iter().filter(wanted).collect());
            }
        };
        (resources.revision, items)
    }

    fn event(&self, target: &Target) -> Option<Value> {
        let (_, events) = self.registry.events().snapshot();
        let word = |event: &Value, pointer| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let is_meant = |event: &Value| {
            word(event, "/metadata/name").as_deref() == Some(target.name())
                && word(event, "/metadata/namespace").as_deref() == Some(target.namespace())
        };
        events.into_iter().find(is_meant)
    }

    /// What tells of changes of a target's objects.
    pub(super) fn changes(&self, target: &Target) -> Arc<Changes> {
        match target.served.source {
            Source::LoadBalancers | Source::IpPools => self.registry.changes(),
            Source::Events => self.registry.events().changes(),
        }
    }
}
