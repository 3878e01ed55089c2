//! Entering half a flow into a bucket in which it is not plain which entry has to go.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::btf_map;
use lb_common::flow::{FlowEntry, OverflowKey, WAYS};
use lb_common::net::{Ipv4, Ipv6};
use lb_common::reason::Reason;

use super::insert::{Insertion, Room, settle};
use super::slot::Slot;
use super::table::{Flows, SPARE, Set, spilled};
use super::victim::{Price, price};
use crate::backend;
use crate::config::Clock;
use crate::stats;

/// Tries to claim an entry before the overflow map is taken.
const CLAIMS: u32 = 1;

/// Each CPU's own scratch of one packet: what the entries of a bucket cost, tagged. Values that went through
/// a map are unknown to the verifier, which else would follow each combination of prices on its own.
#[btf_map]
static PRICES: PerCpuArray<[u32; WAYS], 1> = PerCpuArray::new();

macro_rules! globals {
    ($name:ident, $beyond:ident: $address:ty) => {
        /// `displace` as a function that the verifier checks once, by itself: a global one, which takes a
        /// pointer and returns a number. It gives the code of an [`Insertion`].
        ///
        /// # Safety
        ///
        /// `flow` is null or points to an entry.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(super) unsafe extern "C" fn $name(flow: *const FlowEntry<$address>) -> u32 {
            // SAFETY: promised by the caller, and checked by the verifier.
            match (unsafe { flow.as_ref() }, Clock::read()) {
                (Some(flow), Some(clock)) => displace(flow, &clock) as u32,
                _ => Insertion::Full as u32,
            }
        }

        /// Does another live flow with this very key live in the overflow map? 1 if so: a global function, too.
        ///
        /// # Safety
        ///
        /// As above.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(super) unsafe extern "C" fn $beyond(flow: *const FlowEntry<$address>) -> u32 {
            // SAFETY: promised by the caller, and checked by the verifier.
            match (unsafe { flow.as_ref() }, Clock::read()) {
                (Some(flow), Some(clock)) => u32::from(is_beyond(flow, &clock)),
                _ => 0,
            }
        }
    };
}

globals!(lb_displace_v4, lb_beyond_v4: Ipv4);
globals!(lb_displace_v6, lb_beyond_v6: Ipv6);

#[inline(always)]
fn displace<A: Flows>(flow: &FlowEntry<A>, clock: &Clock) -> Insertion {
    let Some(set) = Set::of(&flow.key(), clock.config) else { return Insertion::Full };
    for _ in 0..CLAIMS {
        let slot = set.slot(cheapest(set, flow, clock));
        let entry = slot.copy();
        let cost = price_of(&entry, flow, clock);
        if cost == Price::TAKEN {
            return Insertion::Taken;
        }
        if !cost.affordable() {
            break;
        }
        let room = Room { slot, head: entry.head };
        if room.fill(flow) {
            return settle(set, flow, room);
        }
    }
    overflow(set, flow)
}

#[inline(always)]
fn is_beyond<A: Flows>(flow: &FlowEntry<A>, clock: &Clock) -> bool {
    Set::of(&flow.key(), clock.config).is_some_and(Set::overflowed)
        && spilled(&flow.key()).is_some_and(|slot| price_of(&slot.copy(), flow, clock) == Price::TAKEN)
}

/// The way whose entry costs least; or the one that another live flow has with this very key.
#[inline(always)]
fn cheapest<A: Flows>(set: Set<A>, flow: &FlowEntry<A>, clock: &Clock) -> usize {
    let Some(prices) = PRICES.get_ptr_mut(0) else { return 0 };
    let prices = prices.cast::<u32>();
    for way in 0..WAYS {
        let entry = set.slot(way).copy();
        let cost = price_of(&entry, flow, clock);
        // SAFETY: `way` is inside the array, which is this CPU's own.
        let target = unsafe { prices.add(way) };
        // SAFETY: as above.
        unsafe { target.write_volatile(if cost == Price::TAKEN { Price::OWN } else { cost }.tagged(way)) };
    }
    let mut best = u32::MAX;
    for way in 0..WAYS {
        // SAFETY: `way` is inside the array, which is this CPU's own.
        let source = unsafe { prices.add(way) };
        // SAFETY: as above.
        best = best.min(unsafe { source.read_volatile() });
    }
    Price::way(best)
}

#[inline(always)]
fn price_of<A: Flows>(entry: &FlowEntry<A>, flow: &FlowEntry<A>, clock: &Clock) -> Price {
    price(entry, backend::serves(entry.backend), flow, clock.config, clock.tick)
}

#[inline(always)]
fn overflow<A: Flows>(set: Set<A>, flow: &FlowEntry<A>) -> Insertion {
    let Some(spare) = A::draft(SPARE) else { return Insertion::Full };
    // SAFETY: the value of a per-CPU array, which the kernel aligns to 8.
    let slot = unsafe { Slot::new(spare) };
    // The kernel may give the element to another flow while somebody reads it: where both have the same ports, only
    // the version tells.
    slot.write(&FlowEntry { head: flow.head.with_version(random()), ..*flow });
    // SAFETY: as above; nobody else writes it.
    if A::spill(&OverflowKey::from(flow.key()), unsafe { &*spare }) && set.mark_overflowed() {
        stats::count(Reason::Overflowed);
        Insertion::Entered
    } else {
        Insertion::Full
    }
}

#[inline(always)]
fn random() -> u16 {
    // SAFETY: a plain helper call without arguments.
    unsafe { bpf_get_prandom_u32() as u16 }
}
