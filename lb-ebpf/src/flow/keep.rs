//! Keeping both halves of a flow alive and in step.

use lb_common::flow::FlowEntry;
use lb_common::head::State;
use lb_common::net::Ipv4;
use lb_common::reason::Reason;

use super::life::{Event, looks_at_twin, step};
use super::{Flows, Hit, Insertion, insert, lookup};
use crate::config::Clock;
use crate::stats;

/// Brings a flow up to date with a packet that took it. `next_hop` is where the client's packets come from,
/// looked up by the caller when [`Hit::is_due`].
#[inline(always)]
pub fn keep<A: Flows>(hit: &Hit<A>, event: Event, next_hop: u16, clock: &Clock) {
    let (state, reply) = (hit.entry.head.state_bits(), hit.entry.head.is_reply());
    if hit.is_due(clock) || looks_at_twin(state, reply, event) {
        // One after the other, not one by the other: together they need more stack than there is.
        if !A::keep(&hit.entry, event, next_hop) {
            A::restore(&hit.entry, next_hop);
        }
    } else {
        hit.enter(step(state, state, reply, event).0);
    }
}

/// The part of [`keep`] that looks at both halves, for IPv4: a global function, which the verifier checks
/// once, by itself. It finds the entry anew, as such a function takes no pointer into the table. 0: the other
/// half is gone, and is still needed.
///
/// # Safety
///
/// `entry` is null or points to an entry.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) unsafe extern "C" fn lb_keep_v4(entry: *const FlowEntry<Ipv4>, event: u32, next_hop: u32) -> u32 {
    // SAFETY: promised by the caller, and checked by the verifier.
    let Some(entry) = (unsafe { entry.as_ref() }) else { return 1 };
    let Some(clock) = &Clock::read() else { return 1 };
    let Some(hit) = lookup(&entry.key(), clock) else { return 1 };
    u32::from(keep_both(&hit, Event::from_code(event), next_hop as u16, clock))
}

/// Enters the other half of an IPv4 flow again: a global function, too. Gives 0.
///
/// # Safety
///
/// `entry` is null or points to an entry.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) unsafe extern "C" fn lb_restore_v4(entry: *const FlowEntry<Ipv4>, next_hop: u32) -> u32 {
    // SAFETY: promised by the caller, and checked by the verifier.
    if let (Some(entry), Some(clock)) = (unsafe { entry.as_ref() }, Clock::read()) {
        restore(entry, next_hop as u16, &clock);
    }
    0
}

/// Once a tick, and when the other half matters. False: the other half is gone, and is still needed.
#[inline(always)]
fn keep_both<A: Flows>(hit: &Hit<A>, event: Event, next_hop: u16, clock: &Clock) -> bool {
    hit.touch(clock.tick);
    let (state, reply) = (hit.entry.head.state_bits(), hit.entry.head.is_reply());
    let Some(other) = lookup(&hit.entry.rewritten().reversed(), clock) else {
        // What has ended leaves its twin's tuple to whoever took it.
        if state != State::Closing as u8 && !matches!(event, Event::FINISH | Event::RESET) {
            return false;
        }
        // The other half is over, as far as anybody knows.
        hit.enter(State::Closing as u8);
        return true;
    };
    if !other.entry.same_flow(&hit.entry.twin()) {
        return true;
    }
    other.touch(clock.tick);
    if next_hop == hit.entry.next_hop {
        let (own, others) = step(state, other.entry.head.state_bits(), reply, event);
        hit.enter(own);
        other.enter(others);
    } else {
        // A change of state waits for the next packet: both need the head as it was.
        other.change_next_hop(next_hop);
        hit.change_next_hop(next_hop);
    }
    true
}

#[inline(always)]
fn restore<A: Flows>(entry: &FlowEntry<A>, next_hop: u16, clock: &Clock) {
    let twin = FlowEntry { next_hop, last_seen: clock.tick, ..entry.twin() };
    if insert(&twin) == Insertion::Entered {
        stats::count(Reason::TwinRestored);
    }
}
