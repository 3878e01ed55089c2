//! Writes and deletions of pools.

use super::writes::stamped;
use super::{Change, Reference, Refusal, Resources, Stamps, limits};
use crate::model::check::check_pool;
use crate::model::ip_pool::{IpPool, IpPoolStatus};
use crate::model::parse::Manifest;

/// Stores the specification beside the allocations that are there.
pub(super) fn write(
    draft: &mut Resources,
    mut object: IpPool,
    stamps: &mut Stamps<'_>,
) -> Result<Change, Refusal> {
    let name = object.metadata.name.clone();
    let reference = Reference::IpPool(name.clone());
    let stored = draft.pools.get(&name);
    let spec_changed = stored.is_none_or(|stored| stored.spec != object.spec);
    let given = object.metadata.clone();
    object.metadata = stamped(&reference, given, stored.map(|s| &s.metadata), spec_changed, stamps)?;
    object.status = match stored {
        Some(stored) => stored.status.clone(),
        None => remembered(&object.status),
    };
    let mut fields = limits::problems(&object.metadata);
    fields.extend(check_pool(&object, draft.pools.values()).err().unwrap_or_default());
    if !fields.is_empty() {
        return Err(Refusal::Invalid { reference, fields });
    }
    let change = match stored {
        None => Change::Created,
        Some(stored) if *stored == object => Change::Unchanged,
        Some(_) => Change::Configured,
    };
    draft.pools.insert(name, object);
    Ok(change)
}

/// What a new pool takes over from its manifest: who had which address elsewhere gets it again while it is free.
fn remembered(status: &IpPoolStatus) -> IpPoolStatus {
    let owners = status.allocated_history.iter().chain(&status.allocated);
    let allocated_history = owners.map(|(address, owner)| (address.clone(), owner.clone())).collect();
    IpPoolStatus { allocated_history, ..IpPoolStatus::default() }
}

/// Removes it, if nobody has an address of it.
pub(super) fn delete(draft: &mut Resources, name: &str) -> Result<Manifest, Refusal> {
    let reference = Reference::IpPool(name.to_owned());
    let Some(pool) = draft.pools.get(name) else { return Err(Refusal::NotFound(reference)) };
    let mut freed = pool.clone();
    // What a load balancer had that goes in the same transaction is in nobody's way.
    freed
        .status
        .allocated
        .retain(|_, owner| owner.parse().is_ok_and(|owner| draft.load_balancers.contains_key(&owner)));
    if let Err(fields) = freed.check_delete() {
        return Err(Refusal::Invalid { reference, fields });
    }
    let removed = draft.pools.remove(name);
    removed.map(|object| Manifest::IpPool(Box::new(object))).ok_or(Refusal::NotFound(reference))
}
