//! What the packet programs have counted.

use aya::Pod;
use aya::maps::{MapData, PerCpuArray};
use lb_common::map;

use super::error::KernelError;
use super::flows::Flows;
use super::maps::{Maps, failed};
use crate::datapath::counters::{Counters, Reason, Stats, Traffic};
use crate::datapath::model::{BackendId, BackendState, ListenerIndex, Observed};

/// The counters of the listeners and backends in `observed`. What backends took, the programs count for them alone: a
/// listener's sum is what no backend took, what those took that it has, and what those took that it had.
pub(super) fn read(maps: &Maps, flows: &Flows, observed: &Observed) -> Result<Counters, KernelError> {
    let mut counters = Counters::default();
    for entry in observed.listeners.values() {
        let refused = total(&maps.listener_stats, map::LISTENER_STATS, entry.index.0, add_stats)?;
        counters.listeners.insert(entry.index, add_stats(refused, past(maps, entry.index)?));
    }
    for (&id, entry) in &observed.backends {
        let sum = total(&maps.backend_stats, map::BACKEND_STATS, id.0, add_stats)?;
        counters.backends.insert(id, sum);
        if let Some(listener) = counters.listeners.get_mut(&entry.listener)
            && entry.state != BackendState::Dead
        {
            *listener = add_stats(*listener, sum);
        }
    }
    for reason in Reason::ALL {
        let sum = total(&maps.reasons, map::REASONS, reason as u32, |a: u64, b| a.wrapping_add(b))?;
        counters.reasons.insert(reason, sum);
    }
    counters.flows = flows.look()?;
    Ok(counters)
}

/// What a backend took that has just died becomes its listener's past. An agent that ends before this, or can't, takes
/// those counts with it.
pub(super) fn bury(maps: &mut Maps, id: BackendId, listener: u32) -> Result<(), KernelError> {
    let sum = total(&maps.backend_stats, map::BACKEND_STATS, id.0, add_stats)?;
    let past = add_stats(past(maps, ListenerIndex(listener))?, sum);
    maps.listener_pasts.set(listener, past, 0).map_err(failed("write", map::LISTENER_PASTS))
}

/// A listener begins, without a past.
pub(super) fn forget(maps: &mut Maps, listener: ListenerIndex) -> Result<(), KernelError> {
    maps.listener_pasts.set(listener.0, Stats::default(), 0).map_err(failed("zero", map::LISTENER_PASTS))
}

fn past(maps: &Maps, listener: ListenerIndex) -> Result<Stats, KernelError> {
    maps.listener_pasts.get(&listener.0, 0).map_err(failed("read", map::LISTENER_PASTS))
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
