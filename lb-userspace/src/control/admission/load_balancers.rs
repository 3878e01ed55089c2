//! Writes and deletions of load balancers; addresses follow in `allocation`.

use std::net::IpAddr;
use std::sync::Arc;

use super::writes::{has_same_keys, stamped};
use super::{Change, Reference, Refusal, Resources, Stamps, limits};
use crate::ipam::select::is_open;
use crate::model::check::Workload;
use crate::model::field::{FieldError, Problems};
use crate::model::ip_pool::IpPool;
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::{NamespacedName, ObjectMeta};
use crate::model::parse::Manifest;
use crate::model::requirement::Requirement;

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
    let mut fields = check_announced(&object).err().unwrap_or_default();
    if !stored.is_some_and(|stored| only_leaves(stored, &object)) {
        fields.extend(limits::problems(&object.metadata));
        fields.extend(object.check().err().unwrap_or_default());
        fields.extend(stored.and_then(|stored| object.check_update(stored).err()).unwrap_or_default());
        fields.extend(check_pool(draft, &object, stored.map(Arc::as_ref)).err().unwrap_or_default());
    }
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

/// Whether the object is on its way out, and nothing of it changes that is checked: it may have been stored under
/// other rules.
fn only_leaves(stored: &LoadBalancer, new: &LoadBalancer) -> bool {
    let only_finalizers = || {
        let stored = stored.clone().with_defaults();
        stored.spec == new.spec && has_same_keys(&stored.metadata, &new.metadata)
    };
    stored.metadata.is_terminating() && only_finalizers()
}

/// Checks what the provider of a guest cluster says, of whatever length.
fn check_announced(object: &LoadBalancer) -> Result<(), Vec<FieldError>> {
    let mut problems = Problems::default();
    let address = &object.status.address;
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        let shown: String = address.chars().take(64).collect();
        problems.add(
            "status.address",
            shown,
            "not an IP address",
            "write the one that the cluster announces",
        );
    }
    problems.result(())
}

/// Checks that the named pool is open to the load balancer, or that it has its address of it already, or was asking
/// for it before: it may have been closed since, and the rest can be edited all the same. Only pools that it may use
/// are told of: those of others may be nothing for its writer to know.
fn check_pool(
    draft: &Resources,
    object: &LoadBalancer,
    stored: Option<&LoadBalancer>,
) -> Result<(), Vec<FieldError>> {
    let mut problems = Problems::default();
    let name = &object.spec.ip_pool;
    let allocated = stored.and_then(|stored| stored.status.allocated_address.as_ref());
    if name.is_empty()
        || allocated.is_some_and(|allocated| allocated.ip_pool == *name)
        || stored.is_some_and(|stored| asks_for_same_pool(stored, object))
    {
        return Ok(());
    }
    let is_open = |pool: &IpPool| is_open_to(pool, &object.metadata, &object.spec.workload_type);
    if !draft.pools.get(name).is_some_and(is_open) {
        let open = draft.pools.iter().filter(|(_, pool)| is_open(pool)).map(|(name, _)| name.as_str());
        let open: Vec<&str> = open.collect();
        let remedy = match open.as_slice() {
            [] => "create it or extend its scope, see `lb pool`; or leave it out".to_owned(),
            open => {
                format!("use one of {}, or leave it out to have one selected automatically", open.join(", "))
            }
        };
        problems.add("spec.ipPool", name, "no such pool is open to this load balancer", remedy);
    }
    problems.result(())
}

/// Whether a load balancer of these metadata and this workload may name a pool: one that stays, and is open to it.
pub fn is_open_to(pool: &IpPool, metadata: &ObjectMeta, workload_type: &str) -> bool {
    let requirement = Requirement::of(metadata);
    let workload = if workload_type == "cluster" { Workload::Cluster } else { Workload::Vm };
    let stays = !pool.metadata.is_terminating();
    stays && pool.check_spec().is_ok_and(|pool| is_open(&pool, &requirement, workload))
}

/// Whether what decides on the pool is as it was.
pub(super) fn asks_for_same_pool(old: &LoadBalancer, new: &LoadBalancer) -> bool {
    old.spec.ip_pool == new.spec.ip_pool
        && old.spec.workload_type == new.spec.workload_type
        && Requirement::of(&old.metadata) == Requirement::of(&new.metadata)
}

/// Removes it; `allocation` releases its address.
pub(super) fn delete(draft: &mut Resources, key: &NamespacedName) -> Result<Manifest, Refusal> {
    let removed = draft.load_balancers.remove(key);
    removed
        .map(|object| Manifest::LoadBalancer(Box::new(Arc::unwrap_or_clone(object))))
        .ok_or_else(|| Refusal::NotFound(Reference::LoadBalancer(key.clone())))
}
