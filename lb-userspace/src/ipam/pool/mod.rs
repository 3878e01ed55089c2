//! One pool: sticky round robin over its ranges (reference section 3.5 with decisions D10, D11).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::check::CheckedPool;
use crate::model::ip_pool::IpPoolStatus;
use crate::model::meta::NamespacedName;
use crate::model::range::Span;

/// Addresses that DHCP servers lent, and to whom. No pool gives any of them until it is given back.
pub type Lent = BTreeMap<IpAddr, NamespacedName>;

/// Why a pool gives no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AllocateAddress {
    /// All addresses are taken.
    // Harvester's words first: tools look for them.
    #[error(
        "fail to get ip from pool {pool}: no IP addresses available in range set: {spans}; add a range, or delete a load balancer"
    )]
    Exhausted {
        /// Its name.
        pool: String,
        /// Its spans, with commas between.
        spans: String,
    },
    /// The requested address is another's. Whose, is nothing to tell a writer, who may know one namespace alone.
    #[error("address {address} of pool {pool} is taken: request another one, or none")]
    Taken {
        /// The requested address.
        address: IpAddr,
        /// The pool's name.
        pool: String,
        /// Who has it.
        owner: String,
    },
    /// The requested address is not the pool's to give.
    #[error("pool {pool} does not give {address}: request an address of {spans} that is no gateway, or none")]
    NotInPool {
        /// The requested address.
        address: IpAddr,
        /// The pool's name.
        pool: String,
        /// Its spans.
        spans: String,
    },
}

/// Gives `owner` an address, and tells what the pool's status becomes.
///
/// In this order: the address that the owner has; the requested one, which replaces it; one that the owner had
/// before; the next free one after the last that was given. Entries that the pool can't mean any more
/// (a text that is no address, an address out of range, a gateway) are dropped on the way.
///
/// # Errors
/// Why there is none. The owner keeps what it has.
pub fn allocate(
    pool: &CheckedPool,
    status: &IpPoolStatus,
    owner: &NamespacedName,
    requested: Option<IpAddr>,
    lent: &Lent,
) -> Result<(IpAddr, IpPoolStatus), AllocateAddress> {
    let mut status = heal(pool, status);
    let current = address_of(&status, owner);
    let address = match (requested, current) {
        (Some(requested), _) => requested_address(pool, &status, owner, requested, lent)?,
        (None, Some(current)) => current,
        (None, None) => {
            sticky(&status, owner, lent).or_else(|| next(pool, &status, lent)).ok_or_else(|| {
                AllocateAddress::Exhausted { pool: pool.name.clone(), spans: spans(pool).replace(", ", ",") }
            })?
        }
    };
    if current != Some(address) {
        give_back(&mut status, owner);
        let text = address.to_string();
        status.allocated_history.remove(&text);
        status.last_allocated.clone_from(&text);
        status.allocated.insert(text, owner.to_string());
    }
    Ok((address, count(pool, status)))
}

/// Takes the owner's address back; the history remembers it. An unknown owner changes nothing.
pub fn release(pool: &CheckedPool, status: &IpPoolStatus, owner: &NamespacedName) -> IpPoolStatus {
    let mut status = heal(pool, status);
    give_back(&mut status, owner);
    count(pool, status)
}

/// The status after a change of the ranges: counted anew, without entries that the pool can't mean any more.
pub fn refresh(pool: &CheckedPool, status: &IpPoolStatus) -> IpPoolStatus {
    count(pool, heal(pool, status))
}

fn heal(pool: &CheckedPool, status: &IpPoolStatus) -> IpPoolStatus {
    let mut status = status.clone();
    status.allocated = fitting(pool, std::mem::take(&mut status.allocated));
    status.allocated_history = fitting(pool, std::mem::take(&mut status.allocated_history));
    let allocated = &status.allocated;
    status.allocated_history.retain(|address, _| !allocated.contains_key(address));
    status
}

/// The entries whose address the pool gives, each address in the one way in which we write it: other writers
/// have other ways for those of IPv6.
fn fitting(pool: &CheckedPool, entries: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fits = |text: &String| text.parse().ok().filter(|address| pool.range_of(*address).is_some());
    let entries = entries.into_iter().filter_map(|(text, of)| Some((fits(&text)?.to_string(), of)));
    entries.collect()
}

fn address_of(status: &IpPoolStatus, owner: &NamespacedName) -> Option<IpAddr> {
    let owner = owner.to_string();
    status.allocated.iter().filter(|(_, of)| **of == owner).find_map(|(address, _)| address.parse().ok())
}

fn requested_address(
    pool: &CheckedPool,
    status: &IpPoolStatus,
    owner: &NamespacedName,
    address: IpAddr,
    lent: &Lent,
) -> Result<IpAddr, AllocateAddress> {
    if pool.range_of(address).is_none() {
        return Err(AllocateAddress::NotInPool { address, pool: pool.name.clone(), spans: spans(pool) });
    }
    let own = owner.to_string();
    let borrower = || lent.get(&address).map(ToString::to_string);
    match status.allocated.get(&address.to_string()).cloned() {
        Some(holder) if holder == own => Ok(address),
        holder => match holder.or_else(borrower) {
            Some(owner) => Err(AllocateAddress::Taken { address, pool: pool.name.clone(), owner }),
            None => Ok(address),
        },
    }
}

/// The lowest address that the owner had and nobody has taken since.
fn sticky(status: &IpPoolStatus, owner: &NamespacedName, lent: &Lent) -> Option<IpAddr> {
    let owner = owner.to_string();
    let had = status.allocated_history.iter().filter(|(_, of)| **of == owner);
    had.filter_map(|(address, _)| address.parse().ok()).filter(|address| !lent.contains_key(address)).min()
}

/// The first free address after the last given one; once around.
fn next(pool: &CheckedPool, status: &IpPoolStatus, lent: &Lent) -> Option<IpAddr> {
    let taken: BTreeSet<IpAddr> =
        status.allocated.keys().filter_map(|address| address.parse().ok()).collect();
    let free = |address: &IpAddr| {
        !taken.contains(address) && !pool.is_gateway(*address) && !lent.contains_key(address)
    };
    let order = search_order(pool, status.last_allocated.parse().ok());
    order.into_iter().flat_map(Span::iter).find(free)
}

/// All spans in listed order, from behind `last` on; from the start if `last` is in none.
fn search_order(pool: &CheckedPool, last: Option<IpAddr>) -> Vec<Span> {
    let spans: Vec<Span> = pool.ranges.iter().map(|range| range.span).collect();
    let place = last.and_then(|last| Some((spans.iter().position(|span| span.contains(last))?, last)));
    let Some((index, last)) = place else { return spans };
    let mut order = Vec::with_capacity(spans.len() + 1);
    let mut around = spans.iter().cycle().skip(index);
    let Some((rest, head)) = around.next().map(|span| span.split_after(last)) else { return spans };
    order.extend(rest);
    order.extend(around.take(spans.len() - 1));
    order.push(head);
    order
}

fn give_back(status: &mut IpPoolStatus, owner: &NamespacedName) {
    let owner = owner.to_string();
    let (given_back, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut status.allocated).into_iter().partition(|(_, of)| *of == owner);
    status.allocated = kept.into_iter().collect();
    status.allocated_history.extend(given_back);
}

fn count(pool: &CheckedPool, mut status: IpPoolStatus) -> IpPoolStatus {
    status.total = pool.total();
    status.available = status.total.saturating_sub(i64::try_from(status.allocated.len()).unwrap_or(i64::MAX));
    status
}

fn spans(pool: &CheckedPool) -> String {
    let spans: Vec<String> = pool.ranges.iter().map(|range| range.span.to_string()).collect();
    spans.join(", ")
}

#[cfg(test)]
mod tests;
