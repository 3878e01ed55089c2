//! Addresses of load balancers: released, assigned and refused in the transaction that changes the objects.

use std::sync::Arc;

use super::load_balancers::asks_for_same_pool;
use super::{Reference, Refusal, Resources, pool_status, sharing};
use crate::ipam::assign::{AssignAddress, describe};
use crate::ipam::pool::{AllocateAddress, Lent};
use crate::ipam::select::SelectPool;
use crate::ipam::{assign, release};
use crate::model::check::{Ipam, Workload};
use crate::model::field::FieldError;
use crate::model::ip_pool::IpPool;
use crate::model::load_balancer::{AllocatedAddress, LoadBalancer, LoadBalancerStatus};
use crate::model::meta::{Condition, NamespacedName, READY};
use crate::model::shared::differing;

/// The condition that tells whether a load balancer has the address that its specification asks for.
pub const ALLOCATED: &str = "Allocated";
/// The address that stands for one by DHCP.
pub const ANY: &str = "0.0.0.0";
/// What is said until there is one: Harvester's words.
pub const WAITING: &str = "service is waiting for external IP";

/// Takes back what deleted load balancers had, and gives addresses to those that are new, changed or waiting:
/// the oldest first.
///
/// # Errors
/// When an object of this transaction asks for an address or a pool that it can't have, or would be left without the
/// address that it has for the sake of sharing. An exhausted pool, or
/// none that matches, is no error: the object waits.
pub(super) fn settle(before: &Resources, draft: &mut Resources, now: &str) -> Result<(), Refusal> {
    sharing::check(before, draft)?;
    pool_status::refresh(before, draft, now);
    let mut refusals = if may_move(before, draft) { give_and_take(before, draft, now) } else { Vec::new() };
    sharing::follow(draft, now);
    if refusals.is_empty() {
        refusals = sharing::check_kept(before, draft);
    }
    Refusal::of(refusals).map_or(Ok(()), Err)
}

/// Whether any address may be given or taken back: most writes are about something else.
fn may_move(before: &Resources, draft: &Resources) -> bool {
    let shares = |object: &Arc<LoadBalancer>| object.shares_address_of().is_some();
    let changes_sides = |old: Option<&Arc<LoadBalancer>>, new: Option<&Arc<LoadBalancer>>| {
        new.is_none_or(|new| old.is_some_and(shares) != shares(new))
    };
    let differing = differing(&before.load_balancers, &draft.load_balancers);
    differing.into_iter().any(|(_, old, new)| changes_sides(old, new))
        || !candidates(before, draft).is_empty()
}

fn give_and_take(before: &Resources, draft: &mut Resources, now: &str) -> Vec<Refusal> {
    let mut pools: Vec<IpPool> = draft.pools.values().cloned().collect();
    let lent = lent(draft);
    for owner in gone(before, draft) {
        let changed = release(&pools, &owner);
        replace(&mut pools, changed);
    }
    change_sides(before, draft, &mut pools);
    let mut refusals = Vec::new();
    for key in candidates(before, draft) {
        let Some(object) = draft.load_balancers.get_mut(&key) else { continue };
        let asks_anew = asks_anew(before, object);
        if let Err(refusal) = settle_one(Arc::make_mut(object), (&mut pools, &lent), asks_anew, now) {
            refusals.push(refusal);
        }
    }
    draft.pools = pools.into_iter().map(|pool| (pool.metadata.name.clone(), pool)).collect();
    refusals
}

/// Gives addresses to those who wait for one, after a lease has been given back that was in a pool's range.
pub fn serve_waiting(before: &Resources, draft: &mut Resources, now: &str) {
    if let Err(refusal) = settle(before, draft, now) {
        // Nothing is written that could be refused.
        tracing::warn!("addresses are not given: {refusal}");
    }
}

/// What DHCP servers lent, as far as it is stored: that of load balancers that are gone, too, until it is given back.
fn lent(draft: &Resources) -> Lent {
    draft.leases.iter().map(|(lb, lease)| (lease.address.into(), lb.clone())).collect()
}

/// Load balancers without address, or whose wishes have changed; the oldest first. Before those without go those that may
/// give one back. One that is about to go wants nothing any more.
fn candidates(before: &Resources, draft: &Resources) -> Vec<NamespacedName> {
    let is_asking = |object: &&LoadBalancer| {
        !object.metadata.is_terminating() && object.spec.share_address_with.is_empty()
    };
    let objects = draft.load_balancers.values().map(Arc::as_ref);
    let without = objects.filter(|object| object.status.allocated_address.is_none());
    let differing = differing(&before.load_balancers, &draft.load_balancers).into_iter();
    let changed = differing.filter_map(|(_, old, new)| Some((old, new?))).filter(is_changed);
    let changed = changed.map(|(_, new)| &**new).filter(|object| object.status.allocated_address.is_some());
    let changed = changed.filter(|object| asks_anew(before, object) || !is_served(draft, object));
    let mut wanting: Vec<&LoadBalancer> = without.chain(changed).filter(is_asking).collect();
    wanting.sort_by_key(|object| {
        let waits = object.status.allocated_address.is_none();
        (waits, &object.metadata.creation_timestamp, object.metadata.key())
    });
    wanting.into_iter().map(|object| object.metadata.key()).collect()
}

fn is_changed((old, new): &(Option<&Arc<LoadBalancer>>, &Arc<LoadBalancer>)) -> bool {
    old.is_none_or(|old| old.spec != new.spec || old.metadata.annotations != new.metadata.annotations)
}

/// Whether it has what it asks for, and its pool says the same of it.
fn is_served(draft: &Resources, object: &LoadBalancer) -> bool {
    let LoadBalancerStatus { allocated_address, conditions, .. } = &object.status;
    let is_given = allocated_address.as_ref().is_some_and(|address| {
        let Some(pool) = draft.pools.get(&address.ip_pool) else { return false };
        let owner = pool.status.allocated.get(&address.ip);
        let is_as_said = || {
            let (pool, vip) = (pool.check_spec().ok()?, address.ip.parse().ok()?);
            Some(describe(&pool, vip) == *address)
        };
        owner.is_some_and(|owner| *owner == object.metadata.key().to_string()) && is_as_said() == Some(true)
    });
    let is_assigned = |condition: &Condition| condition.kind == ALLOCATED && condition.status == "True";
    is_given && conditions.iter().any(is_assigned)
}

/// Those that are deleted.
fn gone(before: &Resources, draft: &Resources) -> Vec<NamespacedName> {
    let differing = differing(&before.load_balancers, &draft.load_balancers).into_iter();
    differing.filter(|(.., new)| new.is_none()).map(|(key, ..)| key.clone()).collect()
}

/// Whether it is asked for another address or pool than before. One that waits for what it asked for earlier goes on
/// waiting, whatever else of it is edited.
fn asks_anew(before: &Resources, object: &LoadBalancer) -> bool {
    before.load_balancers.get(&object.metadata.key()).is_none_or(|old| {
        !asks_for_same_pool(old, object)
            || old.spec.ipam != object.spec.ipam
            || old.spec.address != object.spec.address
    })
}

fn settle_one(
    object: &mut LoadBalancer,
    (pools, lent): (&mut [IpPool], &Lent),
    asks_anew: bool,
    now: &str,
) -> Result<(), Refusal> {
    let reference = Reference::LoadBalancer(object.metadata.key());
    let checked = match object.check() {
        Ok(checked) => checked,
        // A stored object that an older version took: it keeps what it has.
        Err(fields) if asks_anew => return Err(Refusal::Invalid { reference, fields }),
        Err(_) => return Ok(()),
    };
    if checked.ipam == Ipam::Dhcp {
        lend_later(object, now);
        return Ok(());
    }
    match assign(pools, &checked, lent) {
        Ok(assignment) => {
            // What a guest cluster announces is its own to tell.
            if checked.workload == Workload::Vm {
                object.status.address = assignment.vip.to_string();
            }
            object.status.allocated_address = Some(assignment.address);
            replace(pools, assignment.pools);
            mark(object, None, now);
        }
        Err(error) => match wrong_field(&error, object).filter(|_| asks_anew) {
            Some(field) => return Err(Refusal::Invalid { reference, fields: vec![field] }),
            None => mark(object, Some((reason(&error), error.to_string())), now),
        },
    }
    Ok(())
}

/// Takes back what those had that now share an address, and the shared one of those that want one of their own.
fn change_sides(before: &Resources, draft: &mut Resources, pools: &mut [IpPool]) {
    let differing = differing(&before.load_balancers, &draft.load_balancers).into_iter();
    let changed: Vec<NamespacedName> = differing.map(|(key, ..)| key.clone()).collect();
    for key in changed {
        let Some(object) = draft.load_balancers.get_mut(&key) else { continue };
        let old = before.load_balancers.get(&key).map(|old| old.shares_address_of().is_some());
        match (old.unwrap_or_default(), object.shares_address_of().is_some()) {
            (false, true) => {
                let changed = release(pools, &key);
                replace(pools, changed);
            }
            (true, false) => {
                let status = &mut Arc::make_mut(object).status;
                status.allocated_address = None;
                status.address.clear();
            }
            (false, false) | (true, true) => {}
        }
    }
}

/// Tells a load balancer the address of another that it shares, or that it waits for it.
pub(super) fn follow_owner(
    object: &mut Arc<LoadBalancer>,
    owner: &NamespacedName,
    given: Option<&AllocatedAddress>,
    now: &str,
) {
    let mut new = LoadBalancer::clone(object);
    new.status.address = given.map(|given| given.ip.clone()).unwrap_or_default();
    new.status.allocated_address = given.cloned();
    let waits = || ("NoAddress", format!("{} has no address to share yet", owner.name));
    mark(&mut new, given.is_none().then(waits), now);
    if new != **object {
        *object = Arc::new(new);
    }
}

/// Says that the address will come from a DHCP server, as Harvester does.
fn lend_later(object: &mut LoadBalancer, now: &str) {
    let status = &mut object.status;
    status.conditions.retain(|condition| condition.kind != ALLOCATED);
    let is_new = !status.conditions.iter().any(|condition| condition.kind == READY);
    if is_new && object.spec.workload_type != "cluster" {
        set(&mut status.conditions, READY, "False", "AddressNotAssigned", WAITING, now);
    }
    status.allocated_address = Some(AllocatedAddress { ip: ANY.to_owned(), ..AllocatedAddress::default() });
}

fn replace(pools: &mut [IpPool], changed: Vec<IpPool>) {
    for new in changed {
        if let Some(old) = pools.iter_mut().find(|old| old.metadata.name == new.metadata.name) {
            *old = new;
        }
    }
}

/// The field that asks for what can't be had, if it is a field's fault.
fn wrong_field(error: &AssignAddress, object: &LoadBalancer) -> Option<FieldError> {
    let (path, value, text) = match error {
        AssignAddress::Select(SelectPool::Unknown(_) | SelectPool::OutOfScope(_)) => {
            ("spec.ipPool", &object.spec.ip_pool, error.to_string())
        }
        AssignAddress::Select(SelectPool::AddressInNone(_))
        | AssignAddress::Allocate(AllocateAddress::Taken { .. } | AllocateAddress::NotInPool { .. }) => {
            ("spec.address", &object.spec.address, error.to_string())
        }
        AssignAddress::Select(SelectPool::NoneMatches(_))
        | AssignAddress::Allocate(AllocateAddress::Exhausted { .. }) => return None,
    };
    let text = text.strip_prefix(path).map_or(text.as_str(), |rest| rest.trim_start_matches([':', ' ']));
    let (problem, remedy) = text.split_once(": ").unwrap_or((text, "choose another"));
    let value = format!("{value:?}");
    Some(FieldError { path: path.into(), value, problem: problem.into(), remedy: remedy.into() })
}

const fn reason(error: &AssignAddress) -> &'static str {
    match error {
        AssignAddress::Select(SelectPool::NoneMatches(_)) => "NoPool",
        AssignAddress::Allocate(AllocateAddress::Exhausted { .. }) => "PoolExhausted",
        AssignAddress::Select(
            SelectPool::Unknown(_) | SelectPool::OutOfScope(_) | SelectPool::AddressInNone(_),
        )
        | AssignAddress::Allocate(AllocateAddress::Taken { .. } | AllocateAddress::NotInPool { .. }) => {
            "NoAddress"
        }
    }
}

/// Tells whether the address is as asked for; without any address, the load balancer is not ready either.
fn mark(object: &mut LoadBalancer, problem: Option<(&str, String)>, now: &str) {
    let (status, reason, message) = match problem {
        None => ("True", "Assigned", String::new()),
        Some((reason, message)) => ("False", reason, message),
    };
    let conditions = &mut object.status.conditions;
    if object.status.allocated_address.is_none() {
        set(conditions, READY, status, "AddressNotAssigned", &message, now);
    }
    set(conditions, ALLOCATED, status, reason, &message, now);
}

/// Brings a condition up to date.
pub(super) fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: &str,
) {
    let index = conditions.iter().position(|condition| condition.kind == kind).unwrap_or_else(|| {
        conditions.insert(0, Condition { kind: kind.into(), ..Condition::default() });
        0
    });
    let Some(condition) = conditions.get_mut(index) else { return };
    if (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str())
        == (status, reason, message)
    {
        return;
    }
    if condition.status != status {
        now.clone_into(&mut condition.last_transition_time);
    }
    now.clone_into(&mut condition.last_update_time);
    status.clone_into(&mut condition.status);
    reason.clone_into(&mut condition.reason);
    message.clone_into(&mut condition.message);
}
