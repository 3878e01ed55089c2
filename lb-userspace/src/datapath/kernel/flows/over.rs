//! Flows that are over by their age: what they carried is taken out of FLOW_STATS, and who listens is told.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData};
use lb_common::event::FlowStats;
use lb_common::flow::OverflowKey;
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6};

use crate::datapath::flows::model::Flow;
use crate::datapath::kernel::error::KernelError;
use crate::datapath::kernel::maps::{batch_failed, failed, lookup, whole};
use crate::datapath::kernel::pins::Pins;
use crate::datapath::kernel::raw;
use crate::datapath::observe::event::{Carried, Event, Happening};

/// Events that wait for who listens; the oldest are given up, and counted.
const WAITING: usize = 65_536;

/// What flows of one family carry.
pub(in crate::datapath::kernel) struct Accounts<K: Pod> {
    stats: HashMap<MapData, K, FlowStats>,
    /// The same map, to be read as a whole.
    all: MapData,
    name: &'static str,
}

/// An address whose flows are accounted for.
pub(super) trait Accounted: lb_common::net::Address {
    /// Its map.
    const STATS: &'static str;
}

impl Accounted for Ipv4 {
    const STATS: &'static str = map::FLOW_STATS_V4;
}

impl Accounted for Ipv6 {
    const STATS: &'static str = map::FLOW_STATS_V6;
}

impl<K: Pod> Accounts<K> {
    pub(super) fn open(pins: &Pins, name: &'static str) -> Result<Self, KernelError> {
        let stats = Map::HashMap(whole(pins, name)?).try_into().map_err(failed("open", name))?;
        Ok(Self { stats, all: whole(pins, name)?, name })
    }

    /// Takes out what a flow carried.
    pub(super) fn end(&self, key: &K) -> Result<FlowStats, KernelError> {
        let Some(stats) = lookup(&self.stats, self.name, key)? else { return Ok(FlowStats::default()) };
        raw::remove(&self.all, key).map_err(batch_failed("remove from", self.name))?;
        Ok(stats)
    }

    /// Takes out everything: nothing is counted any more.
    pub(super) fn close(&self) -> Result<(), KernelError> {
        let mut keys = Vec::new();
        self.for_each(|key| keys.push(*key))?;
        keys.iter()
            .try_for_each(|key| raw::remove(&self.all, key).map_err(batch_failed("remove from", self.name)))
    }

    /// Visits the tuples of all flows that are counted.
    pub(super) fn for_each(&self, mut visitor: impl FnMut(&K)) -> Result<(), KernelError> {
        raw::visit_hash(&self.all, |key: &K, _: &FlowStats| visitor(key))
            .map_err(batch_failed("read", self.name))
    }
}

impl<A: Accounted> Accounts<OverflowKey<A>>
where
    OverflowKey<A>: Pod,
{
    pub(super) fn of(pins: &Pins) -> Result<Self, KernelError> {
        Self::open(pins, A::STATS)
    }
}

/// What was counted, if it was, of a flow that ended at `now` since boot.
pub(in crate::datapath::kernel) fn carried(stats: &FlowStats, now: Duration) -> Option<Carried> {
    (stats.opened != 0).then(|| Carried {
        duration: now.saturating_sub(Duration::from_nanos(stats.opened)),
        forward_packets: stats.forward.packets,
        forward_bytes: stats.forward.bytes,
        reply_packets: stats.reply.packets,
        reply_bytes: stats.reply.bytes,
    })
}

/// Ends of flows on their way to who listens; nothing is kept while nobody does.
#[derive(Default)]
pub(in crate::datapath::kernel) struct Ends(Mutex<Option<Waiting>>);

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    lost: u64,
}

impl Ends {
    /// Begins to keep them, or ends it.
    pub(in crate::datapath::kernel) fn keep(&self, wanted: bool) {
        *self.waiting() = wanted.then(Waiting::default);
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.waiting().is_some()
    }

    pub(super) fn tell(&self, now: Duration, flow: Flow, stats: &FlowStats) {
        let mut waiting = self.waiting();
        let Some(waiting) = waiting.as_mut() else { return };
        if waiting.events.len() >= WAITING {
            waiting.events.pop_front();
            waiting.lost += 1;
        }
        let happening = Happening::Closed { flow, carried: carried(stats, now) };
        waiting.events.push_back(Event { time: now, happening });
    }

    /// Those that wait, at most so many.
    pub(in crate::datapath::kernel) fn take(&self, most: usize) -> Vec<Event> {
        let mut waiting = self.waiting();
        let Some(waiting) = waiting.as_mut() else { return Vec::new() };
        let count = waiting.events.len().min(most);
        waiting.events.drain(..count).collect()
    }

    pub(in crate::datapath::kernel) fn lost(&self) -> u64 {
        self.waiting().as_ref().map_or(0, |waiting| waiting.lost)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Flow {
        let client = std::net::SocketAddr::from(([198, 51, 100, 10], port));
        let vip = std::net::SocketAddr::from(([203, 0, 113, 80], 80));
        Flow::sample(client, vip, vip)
    }

    #[test]
    fn ends_are_kept_while_somebody_listens_and_the_oldest_given_up() {
        let ends = Ends::default();
        ends.tell(Duration::ZERO, flow(1), &FlowStats::default());
        assert!(!ends.are_wanted() && ends.take(9).is_empty());
        ends.keep(true);
        for port in 0..=u16::MAX {
            ends.tell(Duration::ZERO, flow(port), &FlowStats::default());
        }
        ends.tell(Duration::ZERO, flow(7), &FlowStats::default());
        assert_eq!(ends.lost(), 1);
        let first = &ends.take(2)[0];
        assert_eq!(first.happening, Happening::Closed { flow: flow(1), carried: None });
        assert_eq!(ends.take(usize::MAX).len(), WAITING - 2);
        ends.keep(false);
        assert!(!ends.are_wanted());
    }
}
