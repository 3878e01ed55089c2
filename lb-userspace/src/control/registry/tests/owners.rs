//! What must hold of addresses in any stored state.

use std::collections::BTreeMap;
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
        if pool.and_then(|pool| pool.status.allocated.get(&given.ip)) != Some(&lb.to_string()) {
            return Err(format!("{lb} has {given:?}, which its pool does not know"));
        }
    }
    Ok(())
}
