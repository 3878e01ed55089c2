//! How large an object may be, and what its labels and annotations may be called: what Kubernetes' API server checks
//! of every kind. An object is read, compared and written while all other writers wait, so none may take long.

use serde_json::Value;

use super::ownership::MAX_WRITERS;
use super::patch::depth;
use super::{Reference, Refusal};
use crate::model::field::{FieldError, Problems};
use crate::model::meta::{ManagedFields, ObjectMeta};
use crate::model::names;

/// Bytes of all annotations, keys and values: Kubernetes' limit.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// Bytes of what a client says about owners of fields. What this program says is shorter than the object.
const MAX_OWNERS: usize = 256 << 10;
/// Levels of what a client says about owners of fields: twice what any field of an object has.
const MAX_OWNED_LEVELS: usize = 16;
/// Bytes of an object as JSON, without its status. etcd takes half as much again.
const MAX_OBJECT: usize = 1 << 20;

/// Checks who owns which fields, as a client says.
///
/// # Errors
/// When it is more than anybody has a use for.
pub(super) fn check_owners(reference: &Reference, given: &[ManagedFields]) -> Result<(), Refusal> {
    let mut problems = Problems::default();
    let path = "metadata.managedFields";
    if given.len() > MAX_WRITERS {
        let problem = format!("more than {MAX_WRITERS} writers");
        problems.add(path, given.len(), problem, "leave out those that are long gone");
    }
    let bytes: usize = given.iter().map(|entry| entry.fields.to_string().len()).sum();
    if bytes > MAX_OWNERS {
        problems.add(path, bytes, format!("longer than {MAX_OWNERS} bytes"), "leave the list out");
    }
    for (index, entry) in
        given.iter().enumerate().filter(|(_, entry)| depth(&entry.fields) > MAX_OWNED_LEVELS)
    {
        let problem = format!("more than {MAX_OWNED_LEVELS} levels");
        let path = format!("{path}[{index}].fieldsV1");
        problems.add(path, &entry.manager, problem, "leave the entry out");
    }
    refused(reference, problems)
}

/// Checks how large an object is. The specification's own checks come after it: some of them compare each entry of
/// a list with each other.
///
/// # Errors
/// When it is too large to handle.
pub(super) fn check_size(reference: &Reference, object: &Value) -> Result<(), Refusal> {
    let part = |name: &str| object.get(name).map_or(0, |part| part.to_string().len());
    let bytes = part("metadata") + part("spec");
    let mut problems = Problems::default();
    if bytes > MAX_OBJECT {
        let problem = format!("the object is longer than {MAX_OBJECT} bytes");
        problems.add("", bytes, problem, "make several of it, or leave out what no one reads");
    }
    refused(reference, problems)
}

fn refused(reference: &Reference, problems: Problems) -> Result<(), Refusal> {
    let refusal = |fields| Refusal::Invalid { reference: reference.clone(), fields };
    problems.result(()).map_err(refusal)
}

/// What is wrong with labels and annotations, and the number of those who own fields.
pub(super) fn problems(metadata: &ObjectMeta) -> Vec<FieldError> {
    let mut problems = Problems::default();
    for (key, value) in &metadata.labels {
        let path = format!("metadata.labels[{key:?}]");
        if let Err(rule) = names::label_key(key) {
            problems.add(&*path, key, "not a label's key", rule.to_string());
        }
        if let Err(rule) = names::label_value(value) {
            problems.add(path, value, "not a label's value", rule.to_string());
        }
    }
    for key in metadata.annotations.keys() {
        // Kubernetes takes those of annotations in any case.
        if let Err(rule) = names::label_key(&key.to_lowercase()) {
            problems.add(
                format!("metadata.annotations[{key:?}]"),
                key,
                "not an annotation's key",
                rule.to_string(),
            );
        }
    }
    let bytes: usize = metadata.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_ANNOTATIONS {
        let problem = format!("longer than {MAX_ANNOTATIONS} bytes in all");
        problems.add("metadata.annotations", bytes, problem, "keep what is long elsewhere");
    }
    if metadata.managed_fields.len() > MAX_WRITERS {
        let problem = format!("more than {MAX_WRITERS} writers have applied fields");
        let remedy = "write it once with `managedFields: [{}]`, which forgets them all";
        problems.add("metadata.managedFields", metadata.managed_fields.len(), problem, remedy);
    }
    problems.result(()).err().unwrap_or_default()
}
