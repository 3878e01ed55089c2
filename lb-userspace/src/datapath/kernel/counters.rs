//! Reads what the packet programs have counted.

use aya::Pod;
use aya::maps::{MapData, PerCpuArray};
use lb_common::map;

use super::error::KernelError;
use super::flows::Flows;
use super::maps::{Maps, failed};
use crate::datapath::counters::{Counters, Reason, Stats, Traffic};
use crate::datapath::model::Observed;

/// The counters of the listeners and backends in `observed`.
pub(super) fn read(maps: &Maps, flows: &Flows, observed: &Observed) -> Result<Counters, KernelError> {
    let mut counters = Counters::default();
    for entry in observed.listeners.values() {
        let sum = total(&maps.listener_stats, map::LISTENER_STATS, entry.index.0, add_stats)?;
        counters.listeners.insert(entry.index, sum);
    }
    for &id in observed.backends.keys() {
        let sum = total(&maps.backend_stats, map::BACKEND_STATS, id.0, add_stats)?;
        counters.backends.insert(id, sum);
    }
    for reason in Reason::ALL {
        let sum = total(&maps.reasons, map::REASONS, reason as u32, |a: u64, b| a.wrapping_add(b))?;
        counters.reasons.insert(reason, sum);
    }
    counters.flows = flows.look()?;
    Ok(counters)
}

/// Sums an element over CPUs.
fn total<V: Pod + Default>(
    array: &PerCpuArray<MapData, V>,
    name: &'static str,
    index: u32,
    add: impl Fn(V, V) -> V,
) -> Result<V, KernelError> {
    let values = array.get(&index, 0).map_err(failed("read", name))?;
    Ok(values.iter().copied().fold(V::default(), add))
}

fn add_stats(a: Stats, b: Stats) -> Stats {
    let add = |a: Traffic, b: Traffic| Traffic {
        packets: a.packets.wrapping_add(b.packets),
        bytes: a.bytes.wrapping_add(b.bytes),
    };
    Stats {
        forward: add(a.forward, b.forward),
        reply: add(a.reply, b.reply),
        flows: a.flows.wrapping_add(b.flows),
        refused: a.refused.wrapping_add(b.refused),
    }
}
