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
        UNCLEAR if A::is_beyond(flow) => Insertion::Taken,
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
    // A flow of its tuple may live in the overflow map.
    if set.overflowed() {
        return None;
    }
    let room = room(set, flow, clock.tick)?;
    room.fill(flow).then(|| settle(set, flow, room))
}

/// A place for half a flow, and its head when it was chosen.
#[derive(Clone, Copy)]
pub(super) struct Room<A: Address> {
    pub(super) slot: Slot<A>,
    pub(super) head: Head,
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

    /// Is it still as [`Room::fill`] left it?
    #[inline(always)]
    fn is_kept(self, flow: &FlowEntry<A>) -> bool {
        let now = self.slot.head();
        now.has_ports_of(flow.head) && now.version() == self.head.version().wrapping_add(1)
    }
}

/// The place for half a flow in its bucket: the first that is empty; where there is none and all flows are half-open, that of the
/// oldest. `None` where it takes a careful look to find it: some flow is more than half-open, or an entry has the ports
/// of the new one, as an empty one seems to have none.
#[inline(always)]
pub(super) fn room<A: Flows>(set: Set<A>, flow: &FlowEntry<A>, now: u16) -> Option<Room<A>> {
    let (vacant, settled) = ways(set, flow)?;
    if vacant != 0 {
        let slot = set.slot(first(vacant));
        let head = slot.head();
        return head.is_vacant().then_some(Room { slot, head });
    }
    if settled {
        return None;
    }
    let slot = set.slot(oldest(set, now));
    let head = slot.head();
    // Another CPU may have entered what has the same ports; and the other half of the new flow, which may stand in the
    // same bucket, stays.
    let twin = Head::wanted((flow.destination_port, flow.source_port), flow.head.protocol());
    let displaced =
        head.beyond_half_open() == 0 && !head.has_ports_of(flow.head) && !head.has_ports_of(Head(twin));
    displaced.then_some(Room { slot, head })
}

/// Which ways are empty, a bit each, and whether a flow is more than half-open; `None` where an entry has the new one's
/// ports. Without a branch: the verifier would follow each combination on its own.
#[inline(always)]
fn ways<A: Flows>(set: Set<A>, flow: &FlowEntry<A>) -> Option<(u64, bool)> {
    let mut vacant = 0;
    let mut alike = 0;
    let mut settled = 0;
    for way in 0..WAYS {
        let head = set.slot(way).head();
        vacant |= one_if_zero(head.occupied()) << way;
        alike |= one_if_zero(head.other_ports_than(flow.head));
        settled |= head.beyond_half_open();
    }
    (alike == 0).then_some((vacant, settled != 0))
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
/// sees the other, so both ends of this rule are kept by whoever sees: where this one stands alone, it has won.
#[inline(always)]
pub(super) fn settle<A: Flows>(set: Set<A>, flow: &FlowEntry<A>, room: Room<A>) -> Insertion {
    let mut alike = 0;
    for way in 0..WAYS {
        alike += one_if_zero(set.slot(way).head().other_ports_than(flow.head));
    }
    if alike == 1 && room.is_kept(flow) { Insertion::Entered } else { Insertion::numbered(A::settle(flow)) }
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

#[cfg(test)]
mod tests {
    use lb_common::flow::{Bucket, Flow, FlowKey};
    use lb_common::head::{Kind, State};
    use lb_common::net::{Be16, Protocol};

    use super::*;

    const NOW: u16 = 2;

    fn entry(client: u16, state: State, last_seen: u16) -> FlowEntry<Ipv4> {
        let key = FlowKey {
            source: Ipv4([192, 0, 2, 1]),
            destination: Ipv4([203, 0, 113, 80]),
            source_port: Be16::new(client),
            destination_port: Be16::new(80),
            protocol: Protocol::Tcp,
        };
        let kind = Kind { state, reply: false, masquerade: false, at_egress: false, partial: false };
        let flow = Flow {
            key,
            kind,
            address: Ipv4([198, 51, 100, 1]),
            source_port: key.source_port,
            destination_port: Be16::new(8080),
            backend: lb_common::backend::BackendRef::new(1, 0),
            next_hop: 0,
            last_seen,
        };
        FlowEntry::new(&flow, Head::default())
    }

    /// The way in which a new flow of client port 9 is entered among these.
    fn way(entries: [FlowEntry<Ipv4>; WAYS]) -> Option<usize> {
        let mut bucket = Bucket { entries };
        let set = Set::at(&raw mut bucket);
        let taken = room(set, &entry(9, State::Opening, NOW), NOW)?;
        (0..WAYS).find(|&way| set.slot(way).is_at(taken.slot))
    }

    fn empty() -> FlowEntry<Ipv4> {
        // SAFETY: any bit pattern is an entry.
        unsafe { core::mem::zeroed() }
    }

    fn half_open(client: u16, last_seen: u16) -> FlowEntry<Ipv4> {
        entry(client, State::Opening, last_seen)
    }

    #[test]
    fn the_first_empty_entry_is_taken() {
        for bits in 1_u64..1 << WAYS {
            assert_eq!(first(bits), bits.trailing_zeros() as usize, "{bits:b}");
        }
        let live = entry(1, State::Established, 1);
        assert_eq!(way([live, empty(), half_open(2, 1), empty()]), Some(1));
    }

    #[test]
    fn of_half_open_flows_alone_the_oldest_goes_whatever_the_clock() {
        assert_eq!(way([half_open(1, 2), half_open(2, 1), half_open(3, 0), half_open(4, 1)]), Some(2));
        assert_eq!(way([half_open(1, 2), half_open(2, u16::MAX), half_open(3, 0), half_open(4, 1)]), Some(1));
        // Another CPU's tick is one ahead.
        assert_eq!(way([half_open(1, 3), half_open(2, 3), half_open(3, 2), half_open(4, 3)]), Some(2));
    }

    #[test]
    fn what_is_not_plain_takes_a_careful_look() {
        let live = entry(1, State::Established, 1);
        assert_eq!(way([live, half_open(2, 1), half_open(3, 1), half_open(4, 1)]), None);
        assert_eq!(way([empty(), half_open(9, 1), empty(), empty()]), None, "the same ports");
        let twin = entry(9, State::Opening, 0).twin();
        assert_eq!(
            way([half_open(2, 2), twin, half_open(3, 2), half_open(4, 2)]),
            None,
            "its own other half"
        );
    }
}
