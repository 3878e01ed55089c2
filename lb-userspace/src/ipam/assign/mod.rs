//! A load balancer's address over all pools: found, kept, moved and given back (decisions D9 to D13).

use std::net::IpAddr;

use super::pool::{self, AllocateAddress, Lent};
use super::select::{SelectPool, select};
use crate::model::check::{CheckedLoadBalancer, CheckedPool};
use crate::model::ip_pool::{IpPool, IpPoolStatus};
use crate::model::load_balancer::AllocatedAddress;
use crate::model::meta::NamespacedName;

/// An address, and what is to be stored for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The VIP.
    pub vip: IpAddr,
    /// The same, as a load balancer's status tells it.
    pub address: AllocatedAddress,
    /// The pools that change, with their new status: to be stored in one transaction with the load balancer.
    pub pools: Vec<IpPool>,
}

/// Why a load balancer gets no address. It keeps the one that it has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AssignAddress {
    /// No pool.
    #[error(transparent)]
    Select(#[from] SelectPool),
    /// No address in the pool.
    #[error(transparent)]
    Allocate(#[from] AllocateAddress),
}

/// Gives a load balancer its address. One that has an address in a pool keeps it, unless it names another pool
/// or requests another address: then the new address is taken before the old one is given back. Stored pools
/// that can't be read are passed over, and those that are about to go are chosen for nobody.
///
/// # Errors
/// Why there is none; nothing is to be stored then.
pub fn assign(stored: &[IpPool], lb: &CheckedLoadBalancer, lent: &Lent) -> Result<Assignment, AssignAddress> {
    let pools: Vec<CheckedPool> = stored.iter().filter_map(|pool| pool.check_spec().ok()).collect();
    let staying: Vec<CheckedPool>;
    let chosen = if let Some(holder) = holder(stored, &pools, lb) {
        holder
    } else {
        let goes = |pool: &IpPool| pool.metadata.is_terminating();
        let stays = |name: &str| !stored.iter().any(|pool| pool.metadata.name == name && goes(pool));
        staying = pools.iter().filter(|pool| stays(&pool.name)).cloned().collect();
        select(&staying, lb)?
    };
    let status = status_of(stored, &chosen.name);
    let (vip, status) = pool::allocate(chosen, &status, &lb.key, lb.address, lent)?;
    let mut changed = give_back(stored, &pools, &lb.key, Some(&chosen.name));
    changed.extend(changed_pool(stored, &chosen.name, status));
    Ok(Assignment { vip, address: describe(chosen, vip), pools: changed })
}

/// The pools that change when a load balancer goes: its address is free, and remembered.
pub fn release(stored: &[IpPool], owner: &NamespacedName) -> Vec<IpPool> {
    let pools: Vec<CheckedPool> = stored.iter().filter_map(|pool| pool.check_spec().ok()).collect();
    give_back(stored, &pools, owner, None)
}

/// The pool that a load balancer has an address of and may stay with.
fn holder<'a>(
    stored: &[IpPool],
    pools: &'a [CheckedPool],
    lb: &CheckedLoadBalancer,
) -> Option<&'a CheckedPool> {
    let owner = lb.key.to_string();
    let holds = |pool: &&CheckedPool| {
        let status = status_of(stored, &pool.name);
        let fits = |address: &String| address.parse().is_ok_and(|address| pool.range_of(address).is_some());
        status.allocated.iter().any(|(address, of)| *of == owner && fits(address))
    };
    let wanted = |pool: &&CheckedPool| {
        lb.pool.as_ref().is_none_or(|name| pool.name == *name)
            && lb.address.is_none_or(|address| pool.range_of(address).is_some())
    };
    pools.iter().find(|pool| wanted(pool) && holds(pool))
}

fn give_back(
    stored: &[IpPool],
    pools: &[CheckedPool],
    owner: &NamespacedName,
    except: Option<&str>,
) -> Vec<IpPool> {
    let holds = |pool: &&CheckedPool| {
        status_of(stored, &pool.name).allocated.values().any(|of| *of == owner.to_string())
    };
    let others = pools.iter().filter(|pool| Some(pool.name.as_str()) != except).filter(holds);
    let release = |pool: &CheckedPool| {
        let status = pool::release(pool, &status_of(stored, &pool.name), owner);
        changed_pool(stored, &pool.name, status)
    };
    others.filter_map(release).collect()
}

fn status_of(stored: &[IpPool], name: &str) -> IpPoolStatus {
    stored.iter().find(|pool| pool.metadata.name == name).map(|pool| pool.status.clone()).unwrap_or_default()
}

fn changed_pool(stored: &[IpPool], name: &str, status: IpPoolStatus) -> Option<IpPool> {
    let pool = stored.iter().find(|pool| pool.metadata.name == name)?;
    (pool.status != status).then(|| IpPool { status, ..pool.clone() })
}

/// What a status says of a VIP that a pool gives.
pub fn describe(pool: &CheckedPool, vip: IpAddr) -> AllocatedAddress {
    let range = pool.range_of(vip);
    AllocatedAddress {
        ip_pool: pool.name.clone(),
        ip: vip.to_string(),
        mask: range.map(|range| range.subnet.mask().to_string()).unwrap_or_default(),
        gateway: range.and_then(|range| range.gateway).map(|gateway| gateway.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
