//! The flow table in the kernel, read in place: a walk over a million entries takes milliseconds and no system
//! call an entry.
//!
//! Input: FLOWS mapped into memory, OVERFLOW in batches. Output: flows and their counts; entries that have
//! expired are emptied by the same compare-and-swap as the packet programs use, and the backends' loads are put
//! right.

mod loads;
pub(super) mod mapping;
mod place;
mod table;

use std::net::SocketAddr;
use std::time::Duration;

use aya::maps::{Array, MapData};
use lb_common::config::{ConfigValue, TICK_SHIFT};
use lb_common::flow::FlowEntry;
use lb_common::map;
use lb_common::net::{Address, Ipv4, Ipv6};
use nix::time::{ClockId, clock_gettime};

use super::error::KernelError;
use super::family::MapAddress;
use super::maps::{batch_failed, failed};
use super::pins::Pins;
use crate::datapath::flows::model::{Flow, FlowCounts, Survey};
use crate::datapath::flows::{FlowTable, ReadFlows};
use loads::Loads;
use table::{Clock, Half, Names, Table, Walk};

const V4: Names = Names { flows: map::FLOWS_V4, overflow: map::OVERFLOW_V4 };
const V6: Names = Names { flows: map::FLOWS_V6, overflow: map::OVERFLOW_V6 };

/// The flow tables of all families.
pub(super) struct Flows {
    config: Array<MapData, ConfigValue>,
    v4: Table<Ipv4>,
    v6: Table<Ipv6>,
    loads: Loads,
}

impl Flows {
    /// Maps what is pinned.
    pub(super) fn open(pins: &Pins) -> Result<Self, KernelError> {
        let config = MapData::from_pin(pins.map(map::CONFIG)).map_err(failed("open", map::CONFIG))?;
        let config = Array::try_from(aya::maps::Map::Array(config)).map_err(failed("open", map::CONFIG))?;
        let (v4, v6) = (Table::open(pins, V4)?, Table::open(pins, V6)?);
        Ok(Self { config, v4, v6, loads: Loads::open(pins)? })
    }

    fn clock(&self) -> Result<Clock, KernelError> {
        let config = self.config.get(&0, 0).map_err(failed("read", map::CONFIG))?;
        let now = ticks_now().map_err(batch_failed("read the clock for", map::FLOWS_V4))?;
        Ok(Clock { config, now })
    }

    /// Counts flows.
    pub(super) fn look(&self) -> Result<Survey, KernelError> {
        self.walk(Walk::Looking)
    }

    fn walk(&self, walk: Walk) -> Result<Survey, KernelError> {
        let clock = self.clock()?;
        let mut tally = Tally::default();
        for (capacity, overflow_capacity) in [self.v4.capacity()?, self.v6.capacity()?] {
            tally.survey.capacity += capacity;
            tally.survey.overflow_capacity += overflow_capacity;
        }
        tally.survey.emptied += self.v4.walk(&clock, walk, |half| tally.add(&half))?;
        tally.survey.emptied += self.v6.walk(&clock, walk, |half| tally.add(&half))?;
        Ok(tally.into_survey())
    }

    fn visit(&self, visitor: &mut dyn FnMut(&Flow)) -> Result<(), KernelError> {
        let clock = self.clock()?;
        self.v4.walk(&clock, Walk::Looking, |half| show(&half, clock.now, visitor))?;
        self.v6.walk(&clock, Walk::Looking, |half| show(&half, clock.now, visitor))?;
        Ok(())
    }
}

/// Shows the forward half of a flow that lives.
fn show<A: MapAddress>(half: &Half<'_, A>, now: u16, visitor: &mut dyn FnMut(&Flow)) {
    if !half.is_out && !half.entry.head.is_reply() {
        visitor(&flow(half, now));
    }
}

impl FlowTable for Flows {
    fn for_each_flow(&self, visitor: &mut dyn FnMut(&Flow)) -> Result<(), ReadFlows> {
        self.visit(visitor).map_err(unread)
    }

    fn survey(&self) -> Result<Survey, ReadFlows> {
        self.walk(Walk::Looking).map_err(unread)
    }

    fn age(&self) -> Result<Survey, ReadFlows> {
        let survey = self.walk(Walk::Emptying).map_err(unread)?;
        self.loads.write(&survey).map_err(unread)?;
        Ok(survey)
    }
}

fn unread(error: KernelError) -> ReadFlows {
    ReadFlows(Box::new(error))
}

/// A survey in the making. Neighbours in the table are often of one backend of few, whose counts are gathered
/// by id first: a million flows are a million look-ups.
#[derive(Default)]
struct Tally {
    survey: Survey,
    /// By id, of the generation that came first.
    by_id: Vec<(u8, FlowCounts)>,
}

impl Tally {
    fn add<A: Address>(&mut self, half: &Half<'_, A>) {
        let (backend, head) = (half.entry.backend, half.entry.head);
        if half.overflowed {
            self.survey.overflowed += 1;
        } else {
            self.survey.entries += 1;
        }
        if half.is_out || head.is_reply() {
            return;
        }
        self.survey.live += 1;
        let id = backend.id() as usize;
        if self.by_id.len() <= id {
            self.by_id.resize(id + 1, (0, FlowCounts::default()));
        }
        match self.by_id.get_mut(id) {
            Some((generation, counts))
                if *counts == FlowCounts::default() || *generation == backend.generation() =>
            {
                *generation = backend.generation();
                counts.add(head.state());
            }
            _ => self.survey.by_backend.entry(backend).or_default().add(head.state()),
        }
    }

    fn into_survey(mut self) -> Survey {
        use lb_common::backend::BackendRef;
        for (id, (generation, counts)) in (0..).zip(self.by_id) {
            if counts != FlowCounts::default() {
                self.survey.by_backend.insert(BackendRef::new(id, generation), counts);
            }
        }
        self.survey
    }
}

fn flow<A: MapAddress>(half: &Half<'_, A>, now: u16) -> Flow {
    let FlowEntry { head, source, destination, backend, last_seen, .. } = *half.entry;
    let (source_port, destination_port) = head.ports();
    let rewritten = half.entry.rewritten();
    let idle_ticks = u64::from(now.wrapping_sub(last_seen));
    Flow {
        protocol: head.protocol(),
        client: SocketAddr::new(source.ip(), source_port.get()),
        vip: SocketAddr::new(destination.ip(), destination_port.get()),
        server: SocketAddr::new(rewritten.destination.ip(), rewritten.destination_port.get()),
        source: SocketAddr::new(rewritten.source.ip(), rewritten.source_port.get()),
        backend,
        state: head.state(),
        idle: Duration::from_nanos(idle_ticks << TICK_SHIFT),
        overflowed: half.overflowed,
    }
}

/// The clock that the packet programs stamp flows with.
pub(super) fn ticks_now() -> std::io::Result<u16> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?;
    let nanoseconds = now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned();
    // An entry keeps the low 16 bits.
    Ok(u16::try_from(nanoseconds >> TICK_SHIFT & 0xffff).unwrap_or_default())
}
