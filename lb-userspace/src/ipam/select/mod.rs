//! Which pool: reference section 3.2 with decisions D9 and D11.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::model::check::{CheckedLoadBalancer, CheckedPool, Workload};
use crate::model::ip_pool::ScopeTuple;
use crate::model::requirement::Requirement;

/// What to do about a pool that is not there, or not for everyone.
const REMEDY: &str =
    "create it or extend its scope, name another, or leave it out to have one selected automatically";

/// Why there is no pool for a load balancer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SelectPool {
    /// The named pool does not exist, or can't be read. Whoever may not see pools learns no more than of one that
    /// is out of scope.
    #[error("spec.ipPool: no pool {0:?} is open to this load balancer: {REMEDY}")]
    Unknown(String),
    /// The named pool is not for this load balancer.
    #[error("spec.ipPool: no pool {0:?} is open to this load balancer: {REMEDY}")]
    OutOfScope(String),
    /// No pool fits.
    // Harvester's words first: tools look for them.
    #[error(
        "no matched IPPool with requirement &{{Network:{} Project:{} Namespace:{} Cluster:{}}}: create one whose scope fits, or name one in spec.ipPool (a pool without scope is taken by name only)",
        .0.network, .0.project, .0.namespace, .0.cluster
    )]
    NoneMatches(Requirement),
    /// Pools fit, but none gives the requested address.
    #[error(
        "spec.address: no pool that is open to this load balancer gives {0}: request another address, or none"
    )]
    AddressInNone(IpAddr),
}

/// The pool that gives a load balancer its address: the named one if it is open to it; else the best of those
/// that match.
///
/// The network always decides: a pool serves its own network, a global pool without a network serves any. Then a
/// pool that was made for the load balancer comes before the global one, the higher priority before the lower,
/// the narrower scope before the wider, and at last the name decides. For a guest cluster, a scope with an empty
/// project or cluster counts as any where nothing fits exactly.
///
/// # Errors
/// Why there is none.
pub fn select<'a>(pools: &'a [CheckedPool], lb: &CheckedLoadBalancer) -> Result<&'a CheckedPool, SelectPool> {
    if let Some(name) = &lb.pool {
        let pool = pools.iter().find(|pool| pool.name == *name);
        let pool = pool.ok_or_else(|| SelectPool::Unknown(name.clone()))?;
        return if is_open(pool, &lb.requirement, lb.workload) {
            Ok(pool)
        } else {
            Err(SelectPool::OutOfScope(name.clone()))
        };
    }
    let mut matching: Vec<(Rank, &CheckedPool)> =
        pools.iter().filter_map(|pool| Some((rank(pool, lb)?, pool))).collect();
    if matching.is_empty() {
        return Err(SelectPool::NoneMatches(lb.requirement.clone()));
    }
    if let Some(address) = lb.address {
        matching.retain(|(_, pool)| pool.range_of(address).is_some());
    }
    let best = matching
        .into_iter()
        .max_by(|(a, left), (b, right)| (a, Reverse(&left.name)).cmp(&(b, Reverse(&right.name))));
    match (best, lb.address) {
        (Some((_, pool)), _) => Ok(pool),
        (None, Some(address)) => Err(SelectPool::AddressInNone(address)),
        (None, None) => Err(SelectPool::NoneMatches(lb.requirement.clone())),
    }
}

/// How well a pool fits; the greater wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    fit: Fit,
    priority: u32,
    /// Parts of the scope that are no `*`.
    named: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Global,
    Loose,
    Exact,
}

fn rank(pool: &CheckedPool, lb: &CheckedLoadBalancer) -> Option<Rank> {
    let network = &lb.requirement.network;
    if pool.is_global() {
        let serves = pool.network.is_empty() || pool.network == *network;
        return serves.then_some(Rank { fit: Fit::Global, priority: pool.priority, named: 0 });
    }
    if pool.network != *network {
        return None;
    }
    let of = |tuple: &ScopeTuple| {
        let named = tuple.parts().iter().filter(|part| **part != "*").count();
        Some(Rank { fit: fit(tuple, &lb.requirement, lb.workload)?, priority: pool.priority, named })
    };
    pool.scope.iter().filter_map(of).max()
}

fn fit(tuple: &ScopeTuple, requirement: &Requirement, workload: Workload) -> Option<Fit> {
    let Requirement { project, namespace, cluster, .. } = requirement;
    let same = |part: &str, required: &str| part == required || part == "*" || required == "*";
    let loose = |part: &str, required: &str| part.is_empty() || same(part, required);
    if !same(&tuple.namespace, namespace) {
        return None;
    }
    if same(&tuple.project, project) && same(&tuple.guest_cluster, cluster) {
        return Some(Fit::Exact);
    }
    let fits = loose(&tuple.project, project) && loose(&tuple.guest_cluster, cluster);
    (workload == Workload::Cluster && fits).then_some(Fit::Loose)
}

/// Whether a load balancer may name a pool: it must be of its scope; one without a scope is open to all. A load
/// balancer that says nothing of a network, as those of VMs, chooses it with the pool.
pub fn is_open(pool: &CheckedPool, requirement: &Requirement, workload: Workload) -> bool {
    let network = &requirement.network;
    let same_network = pool.network.is_empty() || network.is_empty() || pool.network == *network;
    let fits = |tuple: &ScopeTuple| fit(tuple, requirement, workload).is_some();
    same_network && (pool.scope.is_empty() || pool.scope.iter().any(fits))
}

#[cfg(test)]
mod tests;
