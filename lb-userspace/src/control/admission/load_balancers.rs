//! Writes and deletions of load balancers; addresses follow in `allocation`.

use std::sync::Arc;

use super::writes::stamped;
use super::{Change, Reference, Refusal, Resources, Stamps};
use crate::model::field::{FieldError, Problems};
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::NamespacedName;
use crate::model::parse::Manifest;

/// Stores the specification beside the status that is there.
pub(super) fn write(
    draft: &mut Resources,
    mut object: LoadBalancer,
    stamps: &mut Stamps<'_>,
) -> Result<Change, Refusal> {
    let key = object.metadata.key();
    let reference = Reference::LoadBalancer(key.clone());
    let stored = draft.load_balancers.get(&key);
    let spec_changed = stored.is_none_or(|stored| stored.spec != object.spec);
    let given = object.metadata.clone();
    object.metadata = stamped(&reference, given, stored.map(|s| &s.metadata), spec_changed, stamps)?;
    let announced = std::mem::take(&mut object.status.address);
    object.status = stored.map(|stored| stored.status.clone()).unwrap_or_default();
    // The provider of a guest cluster writes what the cluster announces; nobody else writes a status.
    if object.spec.workload_type == "cluster" && !announced.is_empty() {
        object.status.address = announced;
    }
    let mut fields = object.check().err().unwrap_or_default();
    fields.extend(stored.and_then(|stored| object.check_update(stored).err()).unwrap_or_default());
    fields.extend(check_pool_exists(draft, &object).err().unwrap_or_default());
    if !fields.is_empty() {
        return Err(Refusal::Invalid { reference, fields });
    }
    let change = match stored {
        None => Change::Created,
        Some(stored) if **stored == object => Change::Unchanged,
        Some(_) => Change::Configured,
    };
    draft.load_balancers.insert(key, Arc::new(object));
    Ok(change)
}

fn check_pool_exists(draft: &Resources, object: &LoadBalancer) -> Result<(), Vec<FieldError>> {
    let mut problems = Problems::default();
    let name = &object.spec.ip_pool;
    if !name.is_empty() && !draft.pools.contains_key(name) {
        let known: Vec<_> = draft.pools.keys().map(String::as_str).collect();
        let remedy = match known.as_slice() {
            [] => "create it first, see `lb pool create`".to_owned(),
            known => format!("use one of {}, or leave it out to select one automatically", known.join(", ")),
        };
        problems.add("spec.ipPool", name, "there is no such pool", remedy);
    }
    problems.result(())
}

/// Removes it; `allocation` releases its address.
pub(super) fn delete(draft: &mut Resources, key: &NamespacedName) -> Result<Manifest, Refusal> {
    let removed = draft.load_balancers.remove(key);
    removed
        .map(|object| Manifest::LoadBalancer(Box::new(Arc::unwrap_or_clone(object))))
        .ok_or_else(|| Refusal::NotFound(Reference::LoadBalancer(key.clone())))
}
