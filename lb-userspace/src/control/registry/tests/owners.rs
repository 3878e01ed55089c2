//! What must hold of addresses in any stored state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::control::resources::Resources;
use crate::model::meta::NamespacedName;

/// Every address has one owner at most, pools know of exactly the addresses that load balancers have, and count
/// right. Or what is wrong.
pub(in crate::control) fn check(resources: &Resources) -> Result<(), String> {
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    let mut own = |address: &str, owner: String| -> Result<(), String> {
        let address: IpAddr = address.parse().map_err(|error| format!("{address} of {owner}: {error}"))?;
        match owners.insert(address, owner.clone()) {
            Some(other) => Err(format!("{address} has two owners: {other} and {owner}")),
            None => Ok(()),
        }
    };
    for (name, pool) in &resources.pools {
        let checked = pool.check_spec().map_err(|errors| format!("pool {name}: {errors:?}"))?;
        let free = checked.total() - i64::try_from(pool.status.allocated.len()).unwrap();
        if (pool.status.total, pool.status.available) != (checked.total(), free) {
            return Err(format!("pool {name} counts wrong: {:?}", pool.status));
        }
        for (address, owner) in &pool.status.allocated {
            let key: NamespacedName = owner.parse().map_err(|error| format!("pool {name}: {error}"))?;
            let object = resources.load_balancers.get(&key);
            let given = object.and_then(|object| object.status.allocated_address.as_ref());
            if given.is_none_or(|given| (&given.ip_pool, &given.ip) != (name, address)) {
                return Err(format!("{address} of pool {name} is leaked: {owner} has {given:?}"));
            }
            own(address, owner.clone())?;
            if address.parse().is_ok_and(|address| checked.range_of(address).is_none()) {
                return Err(format!("pool {name} does not give {address}, which {owner} has"));
            }
        }
    }
    for (lb, lease) in &resources.leases {
        own(&lease.address.to_string(), format!("the lease of {lb}"))?;
    }
    for (lb, object) in resources.load_balancers.iter().filter(|(_, object)| object.spec.ipam != "dhcp") {
        let Some(given) = &object.status.allocated_address else { continue };
        let pool = resources.pools.get(&given.ip_pool);
        let owner = object.shares_address_of().unwrap_or_else(|| lb.clone());
        if pool.and_then(|pool| pool.status.allocated.get(&given.ip)) != Some(&owner.to_string()) {
            return Err(format!("{lb} has {given:?}, which its pool does not know"));
        }
    }
    check_shared(resources)
}

/// Whoever shares an address has that of the owner, its pool knows of it, and no port of the address is theirs twice.
fn check_shared(resources: &Resources) -> Result<(), String> {
    let mut known = 0;
    let mut ports = BTreeSet::new();
    for (lb, object) in &resources.load_balancers {
        for listener in object.spec.listeners.iter().filter(|_| !object.status.address.is_empty()) {
            if !ports.insert((object.status.address.clone(), listener.protocol.clone(), listener.port)) {
                return Err(format!("{} {} is listened on twice", object.status.address, listener.port));
            }
        }
        let Some(owner) = object.shares_address_of() else { continue };
        let Some(owner) = resources.load_balancers.get(&owner) else {
            return Err(format!("{lb} shares the address of {owner}, which is gone"));
        };
        let (own, owners) = (&object.status, &owner.status);
        if (&own.address, &own.allocated_address) != (&owners.address, &owners.allocated_address) {
            return Err(format!("{lb} has {own:?}, and who has the address {owners:?}"));
        }
        if let Some(given) = &own.allocated_address {
            let pool =
                resources.pools.get(&given.ip_pool).ok_or_else(|| format!("{given:?} is of no pool"))?;
            let listed = pool.status.shared.get(&given.ip).is_some_and(|all| all.contains(&lb.to_string()));
            if !listed {
                return Err(format!("the pool of {lb} does not list it: {:?}", pool.status.shared));
            }
            known += 1;
        }
    }
    let listed: usize =
        resources.pools.values().flat_map(|pool| pool.status.shared.values()).map(Vec::len).sum();
    if listed == known { Ok(()) } else { Err(format!("pools list {listed} that share, of {known}")) }
}
