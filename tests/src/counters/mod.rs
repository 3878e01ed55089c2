//! Counters, and what a packet does to them: what is expected, and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use aya::Pod;
use aya::maps::{Map, MapData, PerCpuArray};
use lb_common::map;
use lb_common::reason::Reason;
use lb_common::stats::Stats;

/// One number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Counter {
    Reason(Reason),
    Listener(u32, &'static str),
    Backend(u32, &'static str),
}

/// All counters that are not zero.
#[derive(Clone, Default, Debug)]
pub struct Counts(BTreeMap<Counter, u64>);

impl Counts {
    /// Reads REASONS, LISTENER_STATS and BACKEND_STATS, all CPUs together.
    pub(crate) fn read<'a>(maps: impl Iterator<Item = (&'a str, &'a Map)>) -> Self {
        let mut counts = BTreeMap::new();
        for (name, map) in maps {
            match name {
                map::REASONS => {
                    for (reason, values) in Reason::ALL.into_iter().zip(each_cpu::<u64>(map)) {
                        counts.insert(Counter::Reason(reason), values.iter().sum());
                    }
                }
                map::LISTENER_STATS => stats(map, Counter::Listener, &mut counts),
                map::BACKEND_STATS => stats(map, Counter::Backend, &mut counts),
                _ => {}
            }
        }
        counts.retain(|_, count| *count != 0);
        Self(counts)
    }

    /// What came on top of `before`.
    pub(crate) fn since(&self, before: &Self) -> Delta {
        let gained =
            self.0.iter().map(|(counter, count)| (*counter, count - before.0.get(counter).unwrap_or(&0)));
        Delta(gained.filter(|(_, count)| *count != 0).collect())
    }
}

fn stats(map: &Map, counter: fn(u32, &'static str) -> Counter, counts: &mut BTreeMap<Counter, u64>) {
    for (index, values) in (0..).zip(each_cpu::<Stats>(map)) {
        for stats in values {
            for (field, count) in [
                ("forward packets", stats.forward.packets),
                ("forward bytes", stats.forward.bytes),
                ("reply packets", stats.reply.packets),
                ("reply bytes", stats.reply.bytes),
                ("flows", stats.flows),
                ("refused", stats.refused),
            ] {
                *counts.entry(counter(index, field)).or_default() += count;
            }
        }
    }
}

fn each_cpu<V: Pod>(map: &Map) -> Vec<Vec<V>> {
    let array: PerCpuArray<&MapData, V> = map.try_into().expect("an array of each CPU's own values");
    array.iter().map(|values| values.expect("read counters").to_vec()).collect()
}

/// What some packets added to the counters.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Delta(BTreeMap<Counter, u64>);

impl Delta {
    /// All of these together.
    pub fn sum(deltas: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for (counter, count) in deltas.into_iter().flat_map(|delta| delta.0) {
            *sum.0.entry(counter).or_default() += count;
        }
        sum
    }

    /// This, so many times.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self(self.0.into_iter().map(|(counter, count)| (counter, count * times)).collect())
    }

    /// What it says of a reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(&Counter::Reason(reason)).copied().unwrap_or(0)
    }

    /// The flows that were opened.
    pub fn of_flows(&self) -> u64 {
        let flows = self.0.iter().filter(|(counter, _)| matches!(counter, Counter::Backend(_, "flows")));
        flows.map(|(_, count)| count).sum()
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(&self.0).finish()
    }
}

/// A reason, once.
pub fn reason(reason: Reason) -> Delta {
    Delta([(Counter::Reason(reason), 1)].into())
}

/// A flow was opened.
pub fn opened(backend: u32) -> Delta {
    Delta([(Counter::Backend(backend, "flows"), 1)].into())
}

/// A packet went to a backend.
pub fn forwarded(backend: u32, frame: &impl crate::packet::Frame) -> Delta {
    traffic(backend, ["forward packets", "forward bytes"], frame.bytes().len())
}

/// A packet went back to a client.
pub fn replied(backend: u32, frame: &impl crate::packet::Frame) -> Delta {
    traffic(backend, ["reply packets", "reply bytes"], frame.bytes().len())
}

/// A listener could not serve a packet.
pub fn refused(listener: u32) -> Delta {
    Delta([(Counter::Listener(listener, "refused"), 1)].into())
}

fn traffic(backend: u32, [packets, bytes]: [&'static str; 2], length: usize) -> Delta {
    Delta([(Counter::Backend(backend, packets), 1), (Counter::Backend(backend, bytes), length as u64)].into())
}

/// Asserts what the packets since the last such assertion did to the counters: `assert_delta!(rig, reason(…),
/// forwarded(…))`, or `assert_delta!(rig)` for nothing at all. Counters that are not named must not have moved.
#[macro_export]
macro_rules! assert_delta {
    ($rig:expr $(, $delta:expr)* $(,)?) => {{
        let expected = $crate::counters::Delta::sum([$($delta),*]);
        assert_eq!($rig.delta(), expected, "counters at {} (left: seen, right: expected)", $rig.hook());
    }};
}
