//! Which writer has set which fields: `metadata.managedFields`, and server-side apply on top of it.
//!
//! A writer that applies owns the fields of its manifest; one that creates, replaces or patches owns what it
//! changed. Applying another value to somebody else's field is a conflict unless it is forced. What a writer no
//! longer applies goes, unless somebody else owns it. The status is the agent's and nobody's field.

mod fields;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::model::meta::{API_VERSION, ManagedFields};
use fields::{FieldSet, at, lay, remove};

const APPLY: &str = "Apply";
const UPDATE: &str = "Update";
const FIELDS_TYPE: &str = "FieldsV1";

/// Writers that own fields of one object, at most.
pub(super) const MAX_WRITERS: usize = 100;
/// Writers by other verbs than apply, at most: as Kubernetes does, the longest silent are put together then.
const MAX_UPDATERS: usize = 10;
/// Kubernetes' name for those that are put together.
const ANCIENT: &str = "ancient-changes";

/// The parts of an object's metadata that writers own.
const METADATA: [&str; 4] = ["annotations", "finalizers", "labels", "ownerReferences"];

/// Who writes, and when.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    /// The name under which the fields are kept.
    pub(super) manager: &'a str,
    /// RFC 3339.
    pub(super) now: &'a str,
}

/// A field that another writer owns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owned {
    /// The field, as `.spec.description`.
    pub field: String,
    /// Its owner.
    pub manager: String,
    /// How the owner wrote it: `Apply` or `Update`.
    pub operation: String,
}

/// What a writer's manifest makes of an object: the object to check and complete, before [`settle`].
pub(super) struct Applied {
    fields: FieldSet,
    /// The object with the manifest's fields, and without those that the writer applied before and does not now.
    pub(super) object: Value,
}

/// Lays a manifest over the object as it is stored, or over nothing.
pub(super) fn apply(
    live: Option<&Value>,
    managed: &[ManagedFields],
    manifest: &Value,
    by: Writer<'_>,
) -> Applied {
    let mut manifest = manifest.clone();
    if let Some(map) = manifest.as_object_mut() {
        map.remove("status");
    }
    let fields = FieldSet::of(&owned_part(&manifest));
    let mut object = live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    lay(&mut object, &manifest);
    let is_own = |entry: &&ManagedFields| is(entry, by.manager, APPLY);
    let before =
        managed.iter().find(is_own).map(|entry| FieldSet::from_v1(&entry.fields)).unwrap_or_default();
    let others = managed.iter().filter(|entry| !is_own(entry));
    let others: Vec<FieldSet> = others.map(|entry| FieldSet::from_v1(&entry.fields)).collect();
    for path in before.without(&fields).iter() {
        if !others.iter().any(|set| set.touches(path)) {
            remove(&mut object, path);
        }
    }
    Applied { fields, object }
}

impl Applied {
    /// The owners of fields once `object`, checked and completed, takes the place of `live`.
    ///
    /// # Errors
    /// The fields that others own and that would change, unless `force` takes them.
    pub(super) fn settle(
        &self,
        live: Option<&Value>,
        managed: &[ManagedFields],
        object: &Value,
        by: Writer<'_>,
        force: bool,
    ) -> Result<Vec<ManagedFields>, Vec<Owned>> {
        let changed = self.fields.filter(|path| live.and_then(|live| at(live, path)) != at(object, path));
        let mut owners = Vec::new();
        let mut conflicts = Vec::new();
        let mut own = ManagedFields::default();
        for entry in managed {
            if is(entry, by.manager, APPLY) {
                own = entry.clone();
                continue;
            }
            let set = FieldSet::from_v1(&entry.fields);
            let taken = set.filter(|path| changed.touches(path));
            let conflict = |path: &fields::Path| Owned {
                field: format!(".{}", path.join(".")),
                manager: entry.manager.clone(),
                operation: entry.operation.clone(),
            };
            conflicts.extend(taken.iter().map(conflict));
            owners.extend(rewritten(entry, &set.without(&taken), by.now));
        }
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        by.manager.clone_into(&mut own.manager);
        APPLY.clone_into(&mut own.operation);
        owners.extend(rewritten(&own, &self.fields, by.now));
        Ok(owners)
    }
}

/// The owners of fields once `object` has taken the place of `live` by any other verb. `given` is what the
/// writer says about owners: nothing, as a rule, or what it has read.
pub(super) fn update(
    live: Option<&Value>,
    (stored, given): (&[ManagedFields], &[ManagedFields]),
    object: &Value,
    by: Writer<'_>,
) -> Vec<ManagedFields> {
    let base = match given {
        [] => stored,
        // Kubernetes' way to say that nobody owns anything.
        [only] if *only == ManagedFields::default() => &[],
        given => given,
    };
    let new = owned_part(object);
    let old = live.map(owned_part).unwrap_or_default();
    let changed = FieldSet::of(&new).filter(|path| at(&old, path) != at(&new, path));
    let gone = FieldSet::of(&old).filter(|path| at(&new, path).is_none());
    let mut own = ManagedFields::default();
    let mut owners = Vec::new();
    for entry in base {
        if is(entry, by.manager, UPDATE) {
            own = entry.clone();
            continue;
        }
        let set = FieldSet::from_v1(&entry.fields).without(&changed).without(&gone);
        owners.extend(rewritten(entry, &set, by.now));
    }
    let set = FieldSet::from_v1(&own.fields).without(&gone).with(&changed);
    by.manager.clone_into(&mut own.manager);
    UPDATE.clone_into(&mut own.operation);
    owners.extend(rewritten(&own, &set, by.now));
    bounded(owners)
}

/// With no more than [`MAX_UPDATERS`] writers by other verbs than apply.
fn bounded(owners: Vec<ManagedFields>) -> Vec<ManagedFields> {
    let is_update = |entry: &ManagedFields| entry.operation == UPDATE;
    let excess = owners.iter().filter(|entry| is_update(entry)).count().saturating_sub(MAX_UPDATERS);
    if excess == 0 {
        return owners;
    }
    let (mut updaters, mut all): (Vec<_>, Vec<_>) = owners.into_iter().partition(is_update);
    updaters.sort_by(|a, b| a.time.cmp(&b.time));
    let old: Vec<ManagedFields> = updaters.drain(..=excess).collect();
    let union = |all: FieldSet, entry: &ManagedFields| all.with(&FieldSet::from_v1(&entry.fields));
    let set = old.iter().fold(FieldSet::default(), union);
    let last = old.into_iter().next_back().unwrap_or_default();
    all.push(ManagedFields { manager: ANCIENT.to_owned(), fields: set.to_v1(), ..last });
    all.append(&mut updaters);
    all
}

/// The entry with another set of fields; none if the set is empty. The time tells when the set changed.
fn rewritten(entry: &ManagedFields, set: &FieldSet, now: &str) -> Option<ManagedFields> {
    if set.is_empty() {
        return None;
    }
    let is_same = FieldSet::from_v1(&entry.fields) == *set;
    Some(ManagedFields {
        manager: entry.manager.clone(),
        operation: entry.operation.clone(),
        api_version: API_VERSION.to_owned(),
        time: entry.time.clone().filter(|_| is_same).or_else(|| Some(now.to_owned())),
        fields_type: FIELDS_TYPE.to_owned(),
        fields: if is_same { entry.fields.clone() } else { set.to_v1() },
    })
}

fn is(entry: &ManagedFields, manager: &str, operation: &str) -> bool {
    entry.manager == manager && entry.operation == operation
}

/// What writers own of an object.
fn owned_part(object: &Value) -> Value {
    let mut part = json!({});
    for (name, value) in object.get("metadata").and_then(Value::as_object).into_iter().flatten() {
        if METADATA.contains(&name.as_str()) {
            lay(&mut part, &json!({ "metadata": { name: value } }));
        }
    }
    if let Some(spec) = object.get("spec") {
        lay(&mut part, &json!({ "spec": spec }));
    }
    // An empty pool is written out, and nobody's wish.
    if at(&part, &["spec".to_owned(), "ipPool".to_owned()]).is_some_and(|pool| pool == "") {
        remove(&mut part, &["spec".to_owned(), "ipPool".to_owned()]);
    }
    part
}
