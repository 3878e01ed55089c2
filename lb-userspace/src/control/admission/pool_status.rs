//! What a pool's status says: counted anew where its ranges are others, freed where an operator asks for it.

use super::allocation::set;
use super::{Resources, Vlans};
use crate::ipam::pool;
use crate::model::ip_pool::IpPool;
use crate::model::meta::{GROUP, NamespacedName, READY};

/// The condition that tells what became of the last request to free an address by hand.
pub const RELEASED: &str = "Released";
/// The annotation that asks for it, without its group: `address: namespace/name`.
const RELEASE: &str = "manuallyReleaseIP";

/// Brings the status of pools up to date that are new, have other ranges, or carry a request to free an address.
pub(super) fn refresh(before: &Resources, draft: &mut Resources, now: &str) {
    let Resources { pools, load_balancers, .. } = draft;
    for (name, pool) in pools {
        let old = before.pools.get(name);
        let is_changed = old.is_none_or(|old| old.spec != pool.spec);
        // An earlier version may have stored it without.
        let is_told = pool.status.conditions.iter().any(|condition| condition.kind == READY);
        if (is_changed || !is_told)
            && let Ok(checked) = pool.check_spec()
        {
            if is_changed {
                pool.status = pool::refresh(&checked, &pool.status);
            }
            set(&mut pool.status.conditions, READY, "True", "", "", now);
        }
        // Whatever comes of it, it is asked for once.
        if let Some(request) = pool.metadata.annotations.remove(&format!("{GROUP}/{RELEASE}")) {
            release(pool, &request, |owner| load_balancers.contains_key(owner), now);
        }
    }
}

/// Brings the labels of pools up to date that were stored while the configuration, or this program, was another.
pub fn label(draft: &mut Resources, vlans: &Vlans) {
    for pool in draft.pools.values_mut() {
        let vlan = vlans.get(&pool.spec.selector.network).copied().unwrap_or_default();
        *pool = pool.clone().with_defaults().with_vlan(vlan);
    }
}

/// Frees the address of a load balancer that is gone.
fn release(pool: &mut IpPool, request: &str, exists: impl Fn(&NamespacedName) -> bool, now: &str) {
    let (status, reason, message) = match leaked(pool, request, exists) {
        Ok((address, owner)) => {
            pool.status.allocated.remove(&address);
            pool.status.available += 1;
            let message = format!("{address} of {owner}");
            pool.status.allocated_history.insert(address, owner);
            ("True", "Released", message)
        }
        Err(problem) => ("False", "NotReleased", format!("{request:?}: {problem}")),
    };
    set(&mut pool.status.conditions, RELEASED, status, reason, &message, now);
}

/// The record that a request names, if nobody needs it.
fn leaked(
    pool: &IpPool,
    request: &str,
    exists: impl Fn(&NamespacedName) -> bool,
) -> Result<(String, String), &'static str> {
    let parts = request.rsplit_once(':');
    let parts = parts.and_then(|(address, owner)| Some((address, owner.trim().parse().ok()?)));
    let (address, owner): (&str, NamespacedName) = parts.ok_or("write address: namespace/name")?;
    let (address, text) = (address.trim().to_owned(), owner.to_string());
    if pool.status.allocated.get(&address) != Some(&text) {
        return Err("the pool has no such record");
    }
    if exists(&owner) {
        return Err("the load balancer exists: delete it, and its address is free");
    }
    Ok((address, text))
}
