//! Reads what the packet programs have counted.

use aya::Pod;
use aya::maps::{MapData, PerCpuArray};
use lb_common::config::{ConfigValue, TICK_SHIFT, expired};
use lb_common::flow::{Bucket, WAYS};
use lb_common::head::State;
use lb_common::map;
use lb_common::net::Ipv4;
use nix::time::{ClockId, clock_gettime};

use super::error::KernelError;
use super::maps::{Maps, batch_failed, failed};
use super::raw;
use crate::datapath::counters::{Counters, Flows, Reason, Stats, Traffic};
use crate::datapath::model::Observed;

/// The counters of the listeners and backends in `observed`.
pub(super) fn read(maps: &Maps, observed: &Observed) -> Result<Counters, KernelError> {
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
    counters.flows = flows(maps)?;
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

/// Counts the entries of the flow table.
fn flows(maps: &Maps) -> Result<Flows, KernelError> {
    let config = maps.config.get(&0, 0).map_err(failed("read", map::CONFIG))?;
    let now = ticks_now().map_err(batch_failed("read the clock for", map::FLOWS_V4))?;
    let mut flows = Flows::default();
    let ways = u32::try_from(WAYS).unwrap_or(u32::MAX);
    let count = |buckets: &[Bucket<Ipv4>]| {
        for bucket in buckets {
            flows.capacity += ways;
            bucket
                .entries
                .iter()
                .for_each(|entry| tally(&mut flows, &config, entry.head, entry.last_seen, now));
        }
    };
    raw::visit(&maps.flows, count).map_err(batch_failed("read", map::FLOWS_V4))?;
    Ok(flows)
}

fn tally(flows: &mut Flows, config: &ConfigValue, head: lb_common::head::Head, last_seen: u16, now: u16) {
    let kind = head.kind();
    if matches!(kind.state, State::Empty | State::Busy) {
        return;
    }
    flows.entries += 1;
    let timeout = config.timeout(head.protocol(), kind.state);
    if !kind.reply && !expired(last_seen, now, timeout) {
        flows.live += 1;
    }
}

/// The clock that the packet programs stamp flows with.
fn ticks_now() -> std::io::Result<u16> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?;
    let nanoseconds = now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned();
    // An entry keeps the low 16 bits.
    Ok(u16::try_from(nanoseconds >> TICK_SHIFT & 0xffff).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::head::{Head, Kind};
    use lb_common::net::{Be16, Protocol};

    fn head(state: State, reply: bool) -> Head {
        let kind = Kind { state, reply, masquerade: false, at_egress: false, partial: false };
        Head::new((Be16::new(1), Be16::new(2)), Protocol::Tcp, kind, Head::default())
    }

    #[test]
    fn a_flow_counts_once_and_not_when_it_is_out() {
        let config = ConfigValue { tcp_established: 10, tcp_opening: 2, ..ConfigValue::default() };
        let mut flows = Flows::default();
        for (state, reply, last_seen) in [
            (State::Established, false, 95),
            (State::Established, true, 95),
            (State::Opening, false, 95),
            (State::Busy, false, 100),
            (State::Empty, false, 100),
        ] {
            tally(&mut flows, &config, head(state, reply), last_seen, 100);
        }
        assert_eq!((flows.live, flows.entries), (1, 3));
    }
}
