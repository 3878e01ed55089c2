//! Entering half a flow into the table.

use lb_common::config::age;
use lb_common::flow::{FlowEntry, WAYS};
use lb_common::head::Head;
use lb_common::net::{Address, Ipv4, Ipv6};

use super::slot::Slot;
use super::table::{Flows, Set};
use crate::config::Clock;
use crate::mask::one_if_zero;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Insertion {
    /// It stands in the table.
    Entered = 0,
    /// Its key belongs to another live flow.
    Taken = 1,
    /// There was no room.
    Full = 2,
}

/// Instead of the number of an [`Insertion`]: which entry has to go is not plain.
const UNCLEAR: u32 = 3;

impl Insertion {
    /// The inverse of `as u32`.
    #[inline(always)]
    pub(super) const fn numbered(number: u32) -> Self {
        match number {
            0 => Self::Entered,
            1 => Self::Taken,
            _ => Self::Full,
        }
    }
}

/// Enters half a flow, whose head has no version: over its own earlier entry, into an empty one, over the
/// cheapest to lose; or, if all are live, into the overflow map.
#[inline(always)]
pub fn insert<A: Flows>(flow: &FlowEntry<A>) -> Insertion {
    // One after the other: together they need more stack than there is.
    match A::insert(flow) {
        UNCLEAR => Insertion::numbered(A::displace(flow)),
        number => Insertion::numbered(number),
    }
}

macro_rules! globals {
    ($insert:ident, $settle:ident: $address:ty) => {
        /// The first part of [`insert`] as a function that the verifier checks once, by itself: a global one, which takes a
        /// pointer and returns a number. It gives the code of an [`Insertion`], or [`UNCLEAR`].
        ///
        /// # Safety
        ///
        /// `flow` is null or points to an entry.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(super) unsafe extern "C" fn $insert(flow: *const FlowEntry<$address>) -> u32 {
            // SAFETY: promised by the caller, and checked by the verifier.
            match (unsafe { flow.as_ref() }, Clock::read()) {
                (Some(flow), Some(clock)) => {
                    place(flow, &clock).map_or(UNCLEAR, |insertion| insertion as u32)
                }
                _ => Insertion::Full as u32,
            }
        }

        /// `decide`, likewise.
        ///
        /// # Safety
        ///
        /// As above.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(super) unsafe extern "C" fn $settle(flow: *const FlowEntry<$address>) -> u32 {
            // SAFETY: promised by the caller, and checked by the verifier.
            match (unsafe { flow.as_ref() }, Clock::config()) {
                (Some(flow), Some(config)) => {
                    Set::of(&flow.key(), config).map_or(Insertion::Entered, |set| decide(set, flow)) as u32
                }
                _ => Insertion::Entered as u32,
            }
        }
    };
}

globals!(lb_insert_v4, lb_settle_v4: Ipv4);
globals!(lb_insert_v6, lb_settle_v6: Ipv6);

/// What heads and times tell is decided here: nearly always that is enough.
#[inline(always)]
fn place<A: Flows>(flow: &FlowEntry<A>, clock: &Clock) -> Option<Insertion> {
    let set = Set::of(&flow.key(), clock.config)?;
    room(set, flow, clock.tick)?.fill(flow).then(|| settle(set, flow))
}

/// A place for half a flow, and its head when it was chosen.
#[derive(Clone, Copy)]
pub(super) struct Room<A: Address> {
    slot: Slot<A>,
    head: Head,
}

impl<A: Address> Room<A> {
    /// Takes it. False: another CPU was quicker.
    #[inline(always)]
    pub(super) fn fill(self, flow: &FlowEntry<A>) -> bool {
        let claimed = self.slot.claim(self.head);
        if claimed {
            self.slot.publish(flow, self.head);
        }
        claimed
    }
}

/// The place for half a flow in its bucket; `None` where it takes a careful look to find it.
#[inline(always)]
pub(super) fn room<A: Flows>(set: Set<A>, flow: &FlowEntry<A>, now: u16) -> Option<Room<A>> {
    let way = ready(set, flow, now);
    if way >= WAYS {
        return None;
    }
    let slot = set.slot(way);
    let head = slot.head();
    (head.is_vacant() || head.beyond_half_open() == 0).then_some(Room { slot, head })
}

/// The first way that is empty; where there is none and all flows are half-open, that of the oldest. [`WAYS`]
/// where that does not decide it: some flow is more than half-open, or an entry has the ports of the new one, as
/// an empty one seems to have none. The heads are looked at without a branch: the verifier would follow each combination on its own.
#[inline(always)]
fn ready<A: Flows>(set: Set<A>, flow: &FlowEntry<A>, now: u16) -> usize {
    let wanted = flow.head.0 as u32;
    let mut vacant = 0;
    let mut alike = 0;
    let mut settled = 0;
    for way in 0..WAYS {
        let head = set.slot(way).head();
        vacant |= one_if_zero(head.occupied()) << way;
        alike |= one_if_zero((head.0 as u32 ^ wanted).into());
        settled |= head.beyond_half_open();
    }
    if alike != 0 {
        WAYS
    } else if vacant != 0 {
        first(vacant)
    } else if settled != 0 {
        WAYS
    } else {
        let way = oldest(set, now);
        // The other half of the new flow may stand in the same bucket, and stays.
        let twin = (flow.destination_port, flow.source_port);
        let is_twin = set.slot(way).head().unlike(Head::wanted(twin, flow.head.protocol())) == 0;
        if is_twin { WAYS } else { way }
    }
}

/// The place of the first bit among [`WAYS`] that is set.
#[inline(always)]
const fn first(bits: u64) -> usize {
    /// Two bits for each number of four.
    const FIRST: u32 = {
        let mut table = 0;
        let mut bits = 1_u32;
        while bits < 1 << WAYS {
            table |= bits.trailing_zeros() << (2 * bits);
            bits += 1;
        }
        table
    };
    const { assert!(WAYS == 4) };
    (FIRST >> (2 * (bits & 15)) & 3) as usize
}

/// The way of the flow that was not used for the longest.
#[inline(always)]
fn oldest<A: Flows>(set: Set<A>, now: u16) -> usize {
    let mut oldest = 0;
    for way in 0..WAYS {
        let age = usize::from(age(set.slot(way).last_seen(), now)) * WAYS + way;
        oldest = if age > oldest { age } else { oldest };
    }
    oldest % WAYS
}

/// Of two CPUs that entered the same tuple at once, the one in the lowest way wins. Whoever publishes last
/// sees the other, so both ends of this rule are kept by whoever sees.
#[inline(always)]
pub(super) fn settle<A: Flows>(set: Set<A>, flow: &FlowEntry<A>) -> Insertion {
    let mut alike = 0;
    for way in 0..WAYS {
        alike += one_if_zero((set.slot(way).head().0 as u32 ^ flow.head.0 as u32).into());
    }
    if alike <= 1 { Insertion::Entered } else { Insertion::numbered(A::settle(flow)) }
}

/// [`settle`] where another entry has the ports and the protocol.
#[inline(always)]
fn decide<A: Flows>(set: Set<A>, flow: &FlowEntry<A>) -> Insertion {
    let wanted = Head::wanted(flow.head.ports(), flow.head.protocol());
    let mut found = false;
    let mut same = true;
    for way in 0..WAYS {
        let slot = set.slot(way);
        let Some(entry) = slot.read(wanted) else { continue };
        if !entry.is_between(flow.source, flow.destination) {
            continue;
        }
        if found {
            slot.empty(entry.head);
        } else {
            found = true;
            same = entry.same_flow(flow);
        }
    }
    if same { Insertion::Entered } else { Insertion::Taken }
}
