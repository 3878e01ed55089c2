//! Flows: found, entered, kept alive, ended.

mod displace;
mod insert;
mod keep;
pub mod life;
mod pair;
pub mod slot;
pub mod source_port;
mod table;
mod victim;

use lb_common::config::{ConfigValue, expired};
use lb_common::flow::{FlowEntry, FlowKey, WAYS};
use lb_common::head::{Head, State};
use lb_common::net::{Address, Ipv4, Protocol};
use lb_common::words::Words;

use crate::config::Clock;
use crate::mask::{one_unless_zero, ones_unless_zero};
use life::Event;
use slot::Slot;

pub use insert::{Insertion, insert};
pub use keep::{keep, upkeep};
pub use pair::{Paired, enter, pair};
pub use table::{Flows, Set, draft, insert_drafted};

/// Half a flow, and where it stands.
#[derive(Clone, Copy)]
pub struct Hit<A: Address> {
    /// What it says. It stays packed: each bit that is unpacked early is a branch that the verifier follows.
    pub entry: FlowEntry<A>,
    slot: Slot<A>,
}

/// The half of a flow that a packet with this tuple takes. All ways are looked at without a branch, and the
/// one that fits is then read with care.
#[inline(always)]
pub fn lookup<A: Flows>(key: &FlowKey<A>, clock: &Clock) -> Option<Hit<A>> {
    let set = Set::of(key, clock.config)?;
    let wanted = Head::wanted((key.source_port, key.destination_port), key.protocol);
    let mut candidate = 0;
    for way in 1..WAYS {
        candidate |= way as u64 * (one_unless_zero(set.slot(way).difference(key, wanted)) ^ 1);
    }
    if let Some(hit) = hit(set.slot(candidate as usize), key, wanted) {
        return Some(hit);
    }
    if set.overflowed() { hit(table::spilled(key)?, key, wanted) } else { None }
}

/// What a quick look at the table finds.
#[derive(Clone, Copy)]
pub enum Glance {
    /// No flow with this tuple.
    Nothing,
    /// Not what was looked for: a careful look is needed.
    Unclear,
    /// The half of a flow that needs nothing: see [`Head::is_settled`].
    Settled(Words, Slot<Ipv4>),
}

/// Looks for the half of a flow that a packet takes, by its ports and protocol first. Of two in a bucket that have them
/// in common, as of anything else that is not simple, it does not say which.
#[inline(always)]
pub fn glance(addresses: u64, ports: u32, protocol: u8, config: &ConfigValue) -> Glance {
    let wanted = Head::matching(ports, protocol == Protocol::Udp.number());
    let Some(set) = Set::<Ipv4>::matching(addresses, ports, protocol, config) else { return Glance::Unclear };
    // Way after way: nearly always it is the first, which flows enter before the others.
    let mut way = 0;
    let (slot, head) = loop {
        let slot = set.slot(way);
        let head = slot.head();
        if head.unlike(wanted) == 0 {
            break (slot, head);
        }
        way += 1;
        if way == WAYS {
            return if set.overflowed() { Glance::Unclear } else { Glance::Nothing };
        }
    };
    let found = Words { head, addresses: slot.word(1), rewrite: slot.word(2), last: slot.word(3) };
    if head.is_settled() && found.addresses == addresses && slot.head() == head {
        Glance::Settled(found, slot)
    } else {
        Glance::Unclear
    }
}

/// Does any packet with this tuple take a flow?
#[inline(always)]
pub fn exists<A: Flows>(key: &FlowKey<A>, clock: &Clock) -> bool {
    let Some(set) = Set::of(key, clock.config) else { return false };
    let wanted = Head::wanted((key.source_port, key.destination_port), key.protocol);
    let mut absent = u64::MAX;
    for way in 0..WAYS {
        absent &= ones_unless_zero(set.slot(way).difference(key, wanted));
    }
    absent == 0 || set.overflowed() && table::spilled(key).is_some()
}

#[inline(always)]
fn hit<A: Flows>(slot: Slot<A>, key: &FlowKey<A>, wanted: u64) -> Option<Hit<A>> {
    let entry = slot.read(wanted)?;
    entry.is_between(key.source, key.destination).then_some(Hit { entry, slot })
}

impl<A: Flows> Hit<A> {
    /// Was it last used before this tick?
    #[inline(always)]
    pub fn is_due(&self, clock: &Clock) -> bool {
        self.entry.last_seen != clock.tick
    }

    /// Was it unused for longer than its state allows?
    #[inline(always)]
    pub fn expired(&self, clock: &Clock) -> bool {
        let timeout = clock.config.timeout(self.entry.head.protocol(), self.entry.head.state());
        self.is_due(clock) && expired(self.entry.last_seen, clock.tick, timeout)
    }

    /// Does a packet begin anew what was about to end?
    #[inline(always)]
    pub fn reopened(&self, event: Event) -> bool {
        event == Event::OPEN && self.entry.head.state() == State::Closing
    }

    /// Moves this half to the state with this code. False: another CPU changed the entry at the same moment, and the next
    /// packet has to try again.
    #[inline(always)]
    pub fn enter(&self, state: u8) -> bool {
        let head = self.entry.head;
        state == head.state_bits() || self.slot.swap(head, head.with_state_bits(state))
    }

    /// Notes whether the sender leaves checksums to its device.
    #[inline(always)]
    pub fn note_partial(&self, partial: bool) {
        let head = self.entry.head;
        if partial != head.is_partial() {
            let _ = self.slot.swap(head, head.with_partial(partial));
        }
    }

    /// Notes that it is in use.
    #[inline(always)]
    pub fn touch(&self, now: u16) {
        self.slot.touch(now);
    }

    /// Ends it.
    #[inline(always)]
    pub fn remove(&self) {
        self.slot.empty(self.entry.head);
    }

    /// Makes the client's answers take another way.
    #[inline(always)]
    pub fn change_next_hop(&self, next_hop: u16) {
        self.slot.change_next_hop(self.entry.head, next_hop);
    }
}
