//! Keeping both halves of a flow alive and in step.

use lb_common::head::State;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::reason::Reason;

use super::life::{Event, looks_at_twin, step};
use super::table::insert_twin;
use super::{Flows, Hit, Insertion, draft, lookup};
use crate::config::Clock;
use crate::event::{self, Events};
use crate::{stage, stats};

/// Brings a flow up to date with a packet that took it. `next_hop` is where the client's packets come from,
/// looked up by the caller when [`Hit::is_due`]. True: both halves are to be looked at, by [`upkeep`] once the
/// packet is done with, as together they need more stack than there is.
#[inline(always)]
pub fn keep<A: Flows>(hit: &Hit<A>, event: Event, next_hop: u16, clock: &Clock) -> bool {
    let (state, reply) = (hit.entry.head.state_bits(), hit.entry.head.is_reply());
    if !hit.is_due(clock) && !looks_at_twin(state, reply, event) {
        hit.enter(step(state, state, reply, event).0);
        return false;
    }
    let Some(draft) = draft() else { return false };
    draft.write(&hit.entry);
    stage::tell(event.code() << 16 | u32::from(next_hop));
    true
}

/// The other half is gone, and is still needed.
const MISSING: u32 = 0;
/// Nothing is left to do.
const KEPT: u32 = 1;
/// The flow is over by this packet.
const OVER: u32 = 2;

/// Looks at both halves of the flow of which [`keep`] said that it is due: one function after the other, as
/// together they need more stack than there is, too.
#[inline(always)]
pub fn upkeep<A: Events>() {
    match A::keep() {
        MISSING => A::restore(),
        OVER => event::closed::<A>(),
        _ => {}
    }
}

macro_rules! globals {
    ($keep:ident, $restore:ident: $address:ty) => {
        /// The first part of [`upkeep`]: a global function, which the verifier checks once, by itself. It finds
        /// the entry anew.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(super) extern "C" fn $keep() -> u32 {
            let (Some(draft), Some(clock)) = (draft::<$address>(), &Clock::read()) else { return KEPT };
            let Some(hit) = lookup(&draft.copy().key(), clock) else { return KEPT };
            let told = stage::told();
            keep_both(&hit, Event::from_code(told >> 16), told as u16, clock)
        }

        /// The second: enters the other half again. Gives 0.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(super) extern "C" fn $restore() -> u32 {
            if let Some(clock) = Clock::read()
                && insert_twin::<$address>(stage::told() as u16, clock.tick) == Insertion::Entered
            {
                stats::count(Reason::TwinRestored);
            }
            0
        }
    };
}

globals!(lb_keep_v4, lb_restore_v4: Ipv4);
globals!(lb_keep_v6, lb_restore_v6: Ipv6);

/// Once a tick, and when the other half matters.
#[inline(always)]
fn keep_both<A: Flows>(hit: &Hit<A>, event: Event, next_hop: u16, clock: &Clock) -> u32 {
    hit.touch(clock.tick);
    let (state, reply) = (hit.entry.head.state_bits(), hit.entry.head.is_reply());
    let Some(other) = lookup(&hit.entry.rewritten().reversed(), clock) else {
        // What has ended leaves its twin's tuple to whoever took it.
        if state != State::Closing as u8 && !matches!(event, Event::FINISH | Event::RESET) {
            return MISSING;
        }
        // The other half is over, as far as anybody knows.
        hit.enter(State::Closing as u8);
        return closed(state, State::Closing as u8);
    };
    if !other.entry.same_flow(&hit.entry.twin()) {
        return KEPT;
    }
    let left = if next_hop == hit.entry.next_hop {
        let (own, others) = step(state, other.entry.head.state_bits(), reply, event);
        if !hit.enter(own) {
            // Due again, for within a window nobody else would look.
            hit.touch(clock.tick.wrapping_sub(1));
        }
        other.enter(others);
        closed(state, own)
    } else {
        // A change of state waits for the next packet: both need the head as it was.
        other.change_next_hop(next_hop);
        hit.change_next_hop(next_hop);
        hit.touch(clock.tick.wrapping_sub(1));
        KEPT
    };
    // An answer leaves the client's half due: only its packets tell where the client is now, and that it has heard the
    // answer. Last, so that whoever finds it due finds the answer, too.
    other.touch(clock.tick.wrapping_sub(u16::from(reply)));
    left
}

/// Was the flow open before, and is not any more?
#[inline(always)]
const fn closed(before: u8, after: u8) -> u32 {
    if after == State::Closing as u8 && before != after { OVER } else { KEPT }
}
