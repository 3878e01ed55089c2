//! Writes of objects as an old version has them: read as they are stored, converted over that, and stored only if
//! nobody else has written in between. What an old client can't see would be undone otherwise.

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::Api;
use super::body::{self, Change as PatchBody};
use super::failure::Failure;
use super::form::Form;
use super::query::Parameters;
use super::target::Target;
use super::write::{Answer, RACES};
use crate::control::admission::{Intent, is_open_to, operate};
use crate::model::meta::{NamespacedName, ObjectMeta};
use crate::model::v1alpha1;

/// What an old client sends.
pub(super) enum Wanted {
    /// A whole object.
    Object(Value),
    /// Changes to one.
    Change(PatchBody),
}

impl Wanted {
    /// Whether the client says itself what it has read; then another writer in between is its own to know of.
    fn is_guarded(&self) -> bool {
        match self {
            Self::Object(object) | Self::Change(PatchBody::Apply(object) | PatchBody::Merge(object)) => {
                revision(object).is_some()
            }
            Self::Change(PatchBody::Json(_)) => false,
        }
    }
}

/// Carries out a write, and tries again when another writer was faster.
pub(super) async fn write(
    api: &Api,
    target: &Target,
    query: &Parameters,
    form: Form,
    wanted: Wanted,
) -> Answer {
    for _ in 1..RACES {
        match attempt(api, target, query, form, &wanted).await {
            Err(failure) if failure.is_stale() && !wanted.is_guarded() => {}
            answer => return answer,
        }
    }
    attempt(api, target, query, form, &wanted).await
}

async fn attempt(api: &Api, target: &Target, query: &Parameters, form: Form, wanted: &Wanted) -> Answer {
    if let Wanted::Change(PatchBody::Apply(manifest)) = wanted {
        return apply(api, target, query, form, manifest).await;
    }
    let stored = api.object(target)?;
    let object = match wanted {
        Wanted::Object(object) => object.clone(),
        Wanted::Change(change) => changed(target.served.shown(stored.clone()), change)?,
    };
    let (mut object, mut warnings) = api.converted(target, &object, Some(&stored));
    note(&mut object, &stored);
    let (manifest, more) = body::manifest(target, object, query.unknown)?;
    warnings.extend(more);
    api.answer(Intent::Replace(manifest), target, query, form, warnings).await
}

fn changed(mut object: Value, change: &PatchBody) -> Result<Value, Failure> {
    match change {
        PatchBody::Merge(changes) | PatchBody::Apply(changes) => json_patch::merge(&mut object, changes),
        PatchBody::Json(operations) => {
            operate(&mut object, operations)
                .map_err(|(path, problem)| Failure::bad_request(format!("{path}: {problem}")))?;
        }
    }
    Ok(object)
}

/// Server-side apply. Addresses of servers become names of VMs; a selector of something else beside these would
/// mean other servers than either, so that is refused.
async fn apply(api: &Api, target: &Target, query: &Parameters, form: Form, manifest: &Value) -> Answer {
    let stored = api.object(target).ok();
    let selector = stored.as_ref().and_then(|stored| stored.pointer("/spec/backendServerSelector"));
    let selects_otherwise = selector
        .and_then(Value::as_object)
        .is_some_and(|selector| selector.keys().any(|key| key != v1alpha1::VM_NAME));
    if selects_otherwise && manifest.pointer("/spec/backendServers").is_some() {
        return Err(Failure::bad_request(
            "spec.backendServers: the load balancer selects its servers by other labels than their names: leave it \
             out, or apply v1beta1",
        ));
    }
    let (mut manifest, mut warnings) = api.converted(target, manifest, None);
    if let Some(stored) = &stored {
        keep_pool(&mut manifest, stored, &query.manager);
        note(&mut manifest, stored);
    }
    let (intent, more) = target.application(manifest, query)?;
    warnings.extend(more);
    api.answer(intent, target, query, form, warnings).await
}

/// The version of the object that a client knows.
fn revision(object: &Value) -> Option<&str> {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Says which version was read, if the client does not.
pub(super) fn note(object: &mut Value, stored: &Value) {
    let (None, Some(read)) = (revision(object), revision(stored)) else { return };
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("resourceVersion".to_owned(), json!(read));
    }
}

/// What a client says of a load balancer; wrong metadata say nothing, and are refused later.
fn metadata(object: &Value, lb: &NamespacedName) -> ObjectMeta {
    let given = object.get("metadata").and_then(|metadata| ObjectMeta::deserialize(metadata).ok());
    ObjectMeta { namespace: lb.namespace.to_string(), name: lb.name.to_string(), ..given.unwrap_or_default() }
}

/// Has a writer that applied the pool apply it again, as that was named for it when it created the object: an old
/// client can't, and would give up the pool.
fn keep_pool(manifest: &mut Value, stored: &Value, manager: &str) {
    let is_own = |entry: &&Value| {
        let says = |field: &str, text: &str| entry.get(field).and_then(Value::as_str) == Some(text);
        says("manager", manager) && says("operation", "Apply")
    };
    let owners = stored.pointer("/metadata/managedFields").and_then(Value::as_array);
    let own = owners.and_then(|all| all.iter().find(is_own));
    let has_applied = own.is_some_and(|own| own.pointer("/fieldsV1/f:spec/f:ipPool").is_some());
    let (true, Some(pool)) = (has_applied, stored.pointer("/spec/ipPool")) else { return };
    if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("ipPool").or_insert_with(|| pool.clone());
    }
}

impl Api {
    /// The object of a client as it is to be stored over what is there, and warnings about what that leaves out.
    pub(super) fn converted(
        &self,
        target: &Target,
        object: &Value,
        stored: Option<&Value>,
    ) -> (Value, Vec<String>) {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let lb = NamespacedName::new(target.namespace(), target.name.as_deref().unwrap_or(name));
        let resources = self.registry.snapshot();
        let vm = |address: &str| (self.vm_names)(target.namespace(), address);
        let metadata = metadata(object, &lb);
        let workload = object.pointer("/spec/workloadType").and_then(Value::as_str).unwrap_or_default();
        let pool = |address: &str| {
            let mut gave = resources.pools_of(address.parse().ok()?, &lb);
            gave.find(|pool| is_open_to(pool, &metadata, workload)).map(|pool| pool.metadata.name.clone())
        };
        // What is applied is converted over nothing, even if the object exists.
        let is_new = !resources.load_balancers.contains_key(&lb);
        v1alpha1::to_v1beta1(object, stored, &vm, is_new.then_some(&pool))
    }
}
