//! What the programs tell while somebody listens.

use aya::maps::{PerCpuArray, RingBuf};
use lb_common::event::Event;
use lb_common::flow::{Flow, FlowEntry};
use lb_common::map;
use lb_common::net::Address;

use super::Rig;

impl Rig {
    /// The events since they were last asked for.
    ///
    /// # Panics
    /// When they can't be read.
    pub fn events(&mut self) -> Vec<Event> {
        let mut ring = RingBuf::try_from(self.map(map::EVENTS)).expect("EVENTS is a ring buffer");
        let mut events = Vec::new();
        while let Some(item) = ring.next() {
            assert_eq!(item.len(), size_of::<Event>());
            // SAFETY: as many bytes as the type has, any pattern of which is a value.
            events.push(unsafe { item.as_ptr().cast::<Event>().read_unaligned() });
        }
        events
    }

    /// Events of this class that were not told.
    ///
    /// # Panics
    /// When the kernel does not say.
    pub fn events_lost(&mut self, class: u32) -> u64 {
        let lost: PerCpuArray<_, u64> = self.map(map::EVENTS_LOST).try_into().expect("counters");
        lost.get(&class, 0).expect("read EVENTS_LOST").iter().sum()
    }
}

/// The forward half that an event tells of.
///
/// # Panics
/// Never: an entry is shorter than a body.
pub fn told_flow<A: Address>(event: &Event) -> Flow<A> {
    const { assert!(size_of::<FlowEntry<A>>() <= lb_common::event::BODY) };
    // SAFETY: the body is longer than an entry, any bytes of which are one.
    unsafe { event.body.as_ptr().cast::<FlowEntry<A>>().read_unaligned() }.flow()
}
