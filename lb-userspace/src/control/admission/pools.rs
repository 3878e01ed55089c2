//! Writes and deletions of pools.

use super::writes::{has_same_keys, stamped};
use super::{Change, Reference, Refusal, Resources, Stamps, limits};
use crate::model::check::check_pool;
use crate::model::ip_pool::{IpPool, IpPoolStatus};
use crate::model::parse::Manifest;

/// Stores the specification beside the allocations that are there. Warns of other pools that can't be read: the pool
/// was not compared with them.
pub(super) fn write(
    draft: &mut Resources,
    mut object: IpPool,
    stamps: &mut Stamps<'_>,
) -> Result<(Change, Vec<String>), Refusal> {
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
    let (mut fields, mut warnings) = (Vec::new(), Vec::new());
    if !stored.is_some_and(|stored| only_leaves(stored, &object)) {
        fields.extend(limits::problems(&object.metadata));
        match check_pool(&object, draft.pools.values()) {
            Ok((_, broken)) => warnings.extend(broken.iter().map(ToString::to_string)),
            Err(wrong) => fields.extend(wrong),
        }
    }
    if !fields.is_empty() {
        return Err(Refusal::Invalid { reference, fields });
    }
    let change = match stored {
        None => Change::Created,
        Some(stored) if *stored == object => Change::Unchanged,
        Some(_) => Change::Configured,
    };
    draft.pools.insert(name, object);
    Ok((change, warnings))
}

/// Whether the pool is on its way out, and nothing of it changes that is checked: it may have been stored under other
/// rules.
fn only_leaves(stored: &IpPool, new: &IpPool) -> bool {
    let is_leaving = stored.metadata.is_terminating();
    is_leaving && stored.spec == new.spec && has_same_keys(&stored.metadata, &new.metadata)
}

/// What a new pool takes over from its manifest: who had which address elsewhere gets it again while it is free.
fn remembered(status: &IpPoolStatus) -> IpPoolStatus {
    let owners = status.allocated_history.iter().chain(&status.allocated);
    let allocated_history = owners.map(|(address, owner)| (address.clone(), owner.clone())).collect();
    IpPoolStatus { allocated_history, ..IpPoolStatus::default() }
}

/// Removes it, if nobody has an address of it.
pub(super) fn delete(draft: &mut Resources, name: &str) -> Result<Manifest, Refusal> {
    check_delete(draft, name)?;
    let removed = draft.pools.remove(name);
    let reference = || Reference::IpPool(name.to_owned());
    removed.map(|object| Manifest::IpPool(Box::new(object))).ok_or_else(|| Refusal::NotFound(reference()))
}

/// Refuses a deletion while load balancers have addresses of the pool. What one had that goes in the same transaction
/// is in nobody's way.
pub(super) fn check_delete(draft: &Resources, name: &str) -> Result<(), Refusal> {
    let reference = Reference::IpPool(name.to_owned());
    let Some(pool) = draft.pools.get(name) else { return Err(Refusal::NotFound(reference)) };
    let mut freed = pool.clone();
    freed
        .status
        .allocated
        .retain(|_, owner| owner.parse().is_ok_and(|owner| draft.load_balancers.contains_key(&owner)));
    freed.check_delete().map_err(|fields| Refusal::Invalid { reference, fields })
}
