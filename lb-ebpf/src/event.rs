//! EVENTS: what somebody who listens is told of flows and drops. While nobody does, the bit in CONFIG is off, and
//! nothing is told.

use aya_ebpf::btf_maps::{PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use lb_common::config::EVENTS_WANTED;
use lb_common::event::{BODY, CLOSED, DROPPED, Event, FlowStats, LOST_DROPS, LOST_FLOWS, OPENED, RING};
use lb_common::flow::FlowEntry;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::port::ACCOUNTED;
use lb_common::reason::Reason;

use crate::account::Accounts;
use crate::config::{self, exact_nanoseconds, nanoseconds};
use crate::flow::slot::Slot;
use crate::flow::{self, Flows, Hit};
use crate::limit::{Tokens, UNIT_SHIFT};
use crate::mask::masked;
use crate::packet::{CHUNK, Packet};
use crate::port;
use crate::verdict::Action;

/// Read by the agent; when it is full, events are lost and counted.
#[btf_map]
static EVENTS: RingBuf<Event, { RING as usize }> = RingBuf::new();

/// Each CPU's own: the event in the making. Its kind says what is to be told at the end of a stage.
#[btf_map]
static EVENT: PerCpuArray<Event, 1> = PerCpuArray::new();

/// Each CPU's own, by [`LOST_FLOWS`] and [`LOST_DROPS`]: how many more may be told.
#[btf_map]
static EVENT_TOKENS: PerCpuArray<Tokens, 2> = PerCpuArray::new();

/// Each CPU's own, by [`LOST_FLOWS`] and [`LOST_DROPS`]: what was not told, while somebody listened.
#[btf_map]
static EVENTS_LOST: PerCpuArray<u64, 2> = PerCpuArray::new();

/// A unit of drops is 2^24 ns: sixty are told in a second, a burst aside.
const DROP_SHIFT: u32 = 24;

/// Addresses whose flows are told of.
pub trait Events: Accounts {
    /// See [`opened`].
    fn opened(interface: u32);

    /// See [`closed`].
    fn closed();
}

macro_rules! events {
    ($address:ty: $opened:ident, $closed:ident) => {
        /// [`opened`] as a global function, which the verifier checks once, by itself. Gives 0.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $opened(interface: u32) -> u32 {
            tell_opened::<$address>(interface);
            0
        }

        /// [`closed`], likewise.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $closed() -> u32 {
            tell_closed::<$address>();
            0
        }

        impl Events for $address {
            #[inline(always)]
            fn opened(interface: u32) {
                $opened(interface);
            }

            #[inline(always)]
            fn closed() {
                $closed();
            }
        }
    };
}

events!(Ipv4: lb_opened_v4, lb_closed_v4);
events!(Ipv6: lb_opened_v6, lb_closed_v6);

/// The flow in this CPU's draft was entered, for a packet that came in by this interface.
#[inline(always)]
pub fn opened<A: Events>(interface: u32) {
    A::opened(interface);
}

/// The flow of which this CPU's draft is either half is over.
#[inline(always)]
pub fn closed<A: Events>() {
    A::closed();
}

/// A flow ends in a stage that has no room to tell it: [`ended`] does, at the end of it.
#[inline(always)]
pub fn ends<A: Flows>(hit: &Hit<A>) {
    if let (Some(draft), Some(event)) = (flow::draft(), event()) {
        draft.write(&hit.entry);
        event.kind = CLOSED;
    }
}

/// Tells of the flow that [`ends`] was called for, if it was.
#[inline(always)]
pub fn ended<A: Events>() {
    if takes(CLOSED) {
        A::closed();
    }
}

/// A packet is about to be dropped.
#[inline(always)]
pub fn drops(reason: Reason) {
    lb_drops(reason as u32);
}

/// [`drops`] as a global function, for the sake of the stack. Gives 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_drops(reason: u32) -> u32 {
    if let Some(event) = event() {
        event.kind = DROPPED;
        event.reason = reason;
    }
    0
}

/// A packet ends its journey with a return value: if it is dropped, this is a sample.
#[inline(always)]
pub fn concluded<P: Packet>(packet: &P, code: i32) {
    if code == packet.verdict(Action::Drop) {
        sample(packet);
    }
}

/// A function of its own, for the sake of the stack.
#[inline(never)]
fn sample<P: Packet>(packet: &P) {
    if !takes(DROPPED) || !is_wanted() {
        return;
    }
    let Some(event) = event() else { return };
    event.interface = packet.interface();
    event.hook = P::HOOK as u32;
    event.length = packet.length();
    if event.length >= BODY as u32 {
        let _unread = packet.load(0, &mut event.body, CHUNK as u32);
    } else if event.length > 0 {
        let length = masked::<{ CHUNK as u32 - 1 }>(event.length - 1) + 1;
        let _unread = packet.load(0, &mut event.body, length);
    }
    lb_event(DROPPED);
}

#[inline(always)]
fn event() -> Option<&'static mut Event> {
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    EVENT.get_ptr_mut(0).map(|event| unsafe { &mut *event })
}

/// Is this to be told? Not again, after that.
#[inline(always)]
fn takes(kind: u32) -> bool {
    let Some(event) = event().filter(|event| event.kind == kind) else { return false };
    event.kind = 0;
    true
}

#[inline(always)]
fn is_wanted() -> bool {
    config::flags() & EVENTS_WANTED != 0
}

#[inline(always)]
fn tell_opened<A: Events>(interface: u32) {
    let Some(draft) = flow::draft::<A>() else { return };
    let is_accounted = port::attached(interface).is_some_and(|port| port.flags & ACCOUNTED != 0);
    if is_accounted {
        crate::account::begin(&draft.copy().key());
    }
    if is_wanted() {
        tell(OPENED, &draft.copy(), FlowStats::default());
    }
}

#[inline(always)]
fn tell_closed<A: Events>() {
    let Some(draft) = flow::draft::<A>() else { return };
    let mut entry = draft.copy();
    if entry.head.is_reply() {
        entry = entry.twin();
    }
    let carried = crate::account::end(&entry.key());
    if is_wanted() {
        tell(CLOSED, &entry, carried);
    }
}

#[inline(always)]
fn tell<A: Events>(kind: u32, entry: &FlowEntry<A>, carried: FlowStats) {
    let Some(event) = event() else { return };
    event.family = A::FAMILY;
    event.carried = carried;
    // SAFETY: the body is longer than an entry, and begins at a multiple of 8.
    unsafe { Slot::new(event.body.as_mut_ptr().cast::<FlowEntry<A>>()) }.write(entry);
    lb_event(kind);
}

/// Hands the event in the making to the agent, as this kind: a global function, which the verifier checks once.
/// Gives 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_event(kind: u32) -> u32 {
    let Some(event) = event() else { return 0 };
    let (class, shift) = if kind == DROPPED { (LOST_DROPS, DROP_SHIFT) } else { (LOST_FLOWS, UNIT_SHIFT) };
    event.time = exact_nanoseconds();
    event.kind = kind;
    // By reference: it has no room on the stack.
    let told: &Event = event;
    if !may(class, shift) || EVENTS.output(told, 0).is_err() {
        lost(class);
    }
    event.kind = 0;
    0
}

#[inline(always)]
fn may(class: u32, shift: u32) -> bool {
    let Some(tokens) = EVENT_TOKENS.get_ptr_mut(class) else { return false };
    // SAFETY: this CPU's own value, as in `event`.
    unsafe { (*tokens).take(nanoseconds() >> shift) }
}

#[inline(always)]
fn lost(class: u32) {
    if let Some(lost) = EVENTS_LOST.get_ptr_mut(class) {
        // SAFETY: this CPU's own value, as in `event`.
        unsafe { *lost += 1 };
    }
}
