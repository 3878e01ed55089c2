//! Addresses that several load balancers have: one has it of a pool, the others share it (decision D26).

use std::collections::{BTreeMap, BTreeSet};

use super::allocation::{ANY, follow_owner};
use super::{Reference, Refusal, Resources, ports};
use crate::model::field::{FieldError, Problems};
use crate::model::load_balancer::{AllocatedAddress, LoadBalancer};
use crate::model::meta::NamespacedName;
use crate::model::shared::differing;

const FIELD: &str = "spec.shareAddressWith";

/// Those who share, by whose address it is.
type Groups = BTreeMap<NamespacedName, BTreeSet<NamespacedName>>;

fn groups(resources: &Resources) -> Groups {
    let mut groups = Groups::new();
    for (key, object) in &resources.load_balancers {
        if let Some(owner) = object.shares_address_of() {
            groups.entry(owner).or_default().insert(key.clone());
        }
    }
    groups
}

/// Checks that whoever shares an address shares that of one that has it of a pool, and that no two listeners are on one
/// port of it. What this transaction leaves as it was is left alone.
///
/// # Errors
/// All problems, each at the object that this transaction changes.
pub(super) fn check(before: &Resources, draft: &Resources) -> Result<(), Refusal> {
    let is_changed = |key: &NamespacedName| {
        let (old, new) = (before.load_balancers.get(key), draft.load_balancers.get(key));
        let said = |object: &LoadBalancer| (object.spec.clone(), object.metadata.is_terminating());
        old.map(|old| said(old)) != new.map(|new| said(new))
    };
    let mut refusals = Vec::new();
    for (owner, sharers) in &groups(draft) {
        let members: Vec<&NamespacedName> = std::iter::once(owner).chain(sharers).collect();
        if !members.iter().any(|key| is_changed(key)) {
            continue;
        }
        if let Some(unfit) = unfit(draft.load_balancers.get(owner).map(AsRef::as_ref)) {
            let (new, old): (Vec<_>, Vec<_>) = sharers.iter().partition(|key| is_changed(key));
            refusals.extend(new.into_iter().map(|key| not_shared(key, owner, unfit)));
            if is_changed(owner) && !old.is_empty() {
                refusals.push(still_shared(before, owner, &old));
            }
            continue;
        }
        let objects = members.iter().filter_map(|key| draft.load_balancers.get(*key));
        let objects: Vec<&LoadBalancer> = objects.map(AsRef::as_ref).collect();
        refusals.extend(ports::collisions(&objects, is_changed));
    }
    Refusal::of(refusals).map_or(Ok(()), Err)
}

/// Why nobody can share the address of a load balancer.
fn unfit(owner: Option<&LoadBalancer>) -> Option<&'static str> {
    let Some(owner) = owner.filter(|owner| !owner.metadata.is_terminating()) else {
        return Some("there is no such load balancer in the namespace");
    };
    if owner.shares_address_of().is_some() {
        return Some("that load balancer shares the address of another itself");
    }
    if owner.spec.workload_type == "cluster" {
        return Some("that load balancer is a guest cluster's, whose address is its own");
    }
    (owner.spec.ipam == "dhcp").then_some("that load balancer has its address by DHCP, which is not shared")
}

/// Checks that nobody loses its address by sharing another's, or by ceasing to: as with another pool (decision D12), it
/// keeps what it has until there is something in its place.
pub(super) fn check_kept(before: &Resources, draft: &Resources) -> Vec<Refusal> {
    let lost = |key: &NamespacedName, old: &LoadBalancer, new: &LoadBalancer| {
        let is_changed = old.shares_address_of() != new.shares_address_of();
        let had = old.status.allocated_address.as_ref().filter(|_| is_changed)?;
        new.status.allocated_address.is_none().then(|| not_kept(key, &new.spec.share_address_with, had))
    };
    let differing = differing(&before.load_balancers, &draft.load_balancers).into_iter();
    differing.filter_map(|(key, old, new)| lost(key, old?, new?)).collect()
}

fn not_kept(key: &NamespacedName, owner: &str, had: &AllocatedAddress) -> Refusal {
    let mut problems = Problems::default();
    let (problem, remedy) = if owner.is_empty() {
        let remedy = "go on sharing until its pool has a free one: see `lb pool`";
        (format!("{} is shared, and there is no address of its own to be had", had.ip), remedy)
    } else {
        (format!("{owner} has no address yet, and {} would be lost", had.ip), "repeat when it has one")
    };
    problems.add(FIELD, owner, problem, remedy);
    invalid(key, problems)
}

fn not_shared(key: &NamespacedName, owner: &NamespacedName, problem: &str) -> Refusal {
    let mut problems = Problems::default();
    let remedy = "name one that has its address of a pool, or leave it out";
    problems.add(FIELD, &owner.name, problem, remedy);
    invalid(key, problems)
}

fn still_shared(before: &Resources, owner: &NamespacedName, sharers: &[&NamespacedName]) -> Refusal {
    let mut problems = Problems::default();
    let address = before.load_balancers.get(owner).map(|object| object.status.address.clone());
    let names: Vec<&str> = sharers.iter().map(|key| key.name.as_str()).collect();
    let problem = format!("shared with {}", names.join(", "));
    let remedy = "delete those first, or give them addresses of their own";
    problems.add("status.address", address.unwrap_or_default(), problem, remedy);
    invalid(owner, problems)
}

fn invalid(key: &NamespacedName, problems: Problems) -> Refusal {
    let fields: Vec<FieldError> = problems.result(()).err().unwrap_or_default();
    Refusal::Invalid { reference: Reference::LoadBalancer(key.clone()), fields }
}

/// Tells those who share an address what it is, and pools who they are.
pub(super) fn follow(draft: &mut Resources, now: &str) {
    let mut shared: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (owner, sharers) in groups(draft) {
        let given = draft.load_balancers.get(&owner).and_then(|owner| given(owner));
        for key in sharers {
            if let Some(given) = &given {
                let pool = shared.entry(given.ip_pool.clone()).or_default();
                pool.entry(given.ip.clone()).or_default().push(key.to_string());
            }
            if let Some(object) = draft.load_balancers.get_mut(&key) {
                follow_owner(object, &owner, given.as_ref(), now);
            }
        }
    }
    for (name, pool) in &mut draft.pools {
        pool.status.shared = shared.remove(name).unwrap_or_default();
    }
}

/// The address that a load balancer has of a pool.
fn given(owner: &LoadBalancer) -> Option<AllocatedAddress> {
    let is_own = unfit(Some(owner)).is_none() || owner.metadata.is_terminating();
    owner.status.allocated_address.clone().filter(|given| is_own && given.ip != ANY)
}
