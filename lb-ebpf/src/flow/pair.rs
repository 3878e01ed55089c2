//! Entering both halves of a flow at once, where it is plain which entries they take: nearly always it is.

use lb_common::flow::FlowEntry;
use lb_common::net::{Ipv4, Ipv6};

use super::insert::{Insertion, room, settle};
use super::table::{Flows, Set, draft};
use crate::config::Clock;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Paired {
    /// Nothing: it is not plain.
    Neither = 0,
    /// The half of the answers stands, the other one has to be entered yet.
    Answers = 1,
    /// Both stand.
    Both = 2,
    /// The half of the answers stands, and another CPU entered a flow for the tuple.
    Taken = 3,
}

impl Paired {
    /// How many there are.
    pub const NUMBERS: u32 = 4;

    /// The inverse of `as u32`.
    #[inline(always)]
    pub const fn numbered(number: u32) -> Self {
        match number {
            1 => Self::Answers,
            2 => Self::Both,
            3 => Self::Taken,
            _ => Self::Neither,
        }
    }
}

/// Enters both halves of the flow in this CPU's draft, and gives the number of what came of it. Where the flow's source port may
/// change, it keeps that of its client.
#[inline(always)]
pub fn pair<A: Flows>() -> u32 {
    A::pair()
}

macro_rules! global {
    ($name:ident: $address:ty) => {
        /// [`pair`], as a number: a global function, which the verifier checks once, by itself.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(super) extern "C" fn $name() -> u32 {
            draft::<$address>().and_then(|draft| begin(&draft.copy())).unwrap_or(Paired::Neither) as u32
        }
    };
}

global!(lb_pair_v4: Ipv4);
global!(lb_pair_v6: Ipv6);

#[inline(always)]
fn begin<A: Flows>(forward: &FlowEntry<A>) -> Option<Paired> {
    let clock = Clock::read()?;
    let there = Set::of(&forward.key(), clock.config)?;
    let back = Set::of(&forward.twin().key(), clock.config)?;
    Some(enter(forward, (there, back), clock.tick))
}

/// Enters both halves of a flow, given by its forward half, into their buckets.
#[inline(always)]
pub fn enter<A: Flows>(forward: &FlowEntry<A>, sets: (Set<A>, Set<A>), now: u16) -> Paired {
    plainly(forward, sets, now).unwrap_or(Paired::Neither)
}

#[inline(always)]
fn plainly<A: Flows>(forward: &FlowEntry<A>, (there, back): (Set<A>, Set<A>), now: u16) -> Option<Paired> {
    let answers = forward.twin();
    if back.overflowed() {
        return None;
    }
    // Both are looked at before either is claimed: where they share a bucket and want one entry, the second claim fails.
    let (way_back, way_there) = (room(back, &answers, now)?, room(there, forward, now)?);
    if !way_back.fill(&answers) || settle(back, &answers, way_back) != Insertion::Entered {
        return None;
    }
    if !way_there.fill(forward) {
        return Some(Paired::Answers);
    }
    let both = settle(there, forward, way_there) == Insertion::Entered;
    Some(if both { Paired::Both } else { Paired::Taken })
}
