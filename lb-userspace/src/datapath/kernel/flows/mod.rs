//! The flow table in the kernel, read in place: a walk over a million entries takes milliseconds and no system
//! call an entry.
//!
//! Input: FLOWS mapped into memory, OVERFLOW in batches. Output: flows and their counts; entries that have
//! expired are emptied by the same compare-and-swap as the packet programs use, and the backends' loads are put
//! right.

mod loads;
pub(super) mod mapping;
mod over;
mod place;
mod table;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aya::Pod;
use lb_common::config::TICK_SHIFT;
use lb_common::event::FlowStats;
use lb_common::flow::{FlowEntry, OverflowKey};
use lb_common::head::State;
use lb_common::map;
use lb_common::net::{Address, Ipv4, Ipv6};
use nix::time::{ClockId, clock_gettime};

use super::clock;
use super::error::KernelError;
use super::family::MapAddress;
use super::maps::batch_failed;
use super::pins::Pins;
use super::settings::SharedSettings;
use crate::datapath::flows::model::{Flow, FlowCounts, Occupancy, Survey};
use crate::datapath::flows::{FlowTable, ReadFlows};
use loads::Loads;
use over::{Accounted, Accounts};
pub(super) use over::{Ends, carried};
use table::{Clock, Half, Names, Table, Walk};

const V4: Names = Names { flows: map::FLOWS_V4, overflow: map::OVERFLOW_V4 };
const V6: Names = Names { flows: map::FLOWS_V6, overflow: map::OVERFLOW_V6 };

/// The flow tables of all families.
pub(super) struct Flows {
    settings: SharedSettings,
    v4: Table<Ipv4>,
    v6: Table<Ipv6>,
    loads: Loads,
    accounts: (Accounts<OverflowKey<Ipv4>>, Accounts<OverflowKey<Ipv6>>),
    /// Is there anything in the accounts?
    accounted: bool,
    ends: Arc<Ends>,
    /// Walks that emptied.
    walks: AtomicU32,
}

impl Flows {
    /// Maps what is pinned. Accounts that are not wanted any more are emptied.
    pub(super) fn open(pins: &Pins, accounted: bool) -> Result<Self, KernelError> {
        let (v4, v6) = (Table::open(pins, V4)?, Table::open(pins, V6)?);
        let accounts = (Accounts::of(pins)?, Accounts::of(pins)?);
        if !accounted {
            accounts.0.close()?;
            accounts.1.close()?;
        }
        let (loads, ends, walks) = (Loads::open(pins)?, Arc::default(), AtomicU32::new(0));
        Ok(Self { settings: SharedSettings::open(pins)?, v4, v6, loads, accounts, accounted, ends, walks })
    }

    /// Where flows that are over by their age are told.
    pub(super) fn ends(&self) -> Arc<Ends> {
        Arc::clone(&self.ends)
    }

    fn clock(&self) -> Result<Clock, KernelError> {
        let config = self.settings.config();
        let now = clock::tick(&config).map_err(batch_failed("read the clock for", map::FLOWS_V4))?;
        Ok(Clock { config, now })
    }

    /// Counts flows.
    pub(super) fn look(&self) -> Result<Survey, KernelError> {
        self.walk(Walk::Looking)
    }

    fn walk(&self, walk: Walk) -> Result<Survey, KernelError> {
        let clock = self.clock()?;
        let mut tally = Tally::default();
        for (table, (capacity, overflow_capacity)) in
            [(&mut tally.survey.v4, self.v4.capacity()?), (&mut tally.survey.v6, self.v6.capacity()?)]
        {
            *table = Occupancy { capacity, overflow_capacity, ..Occupancy::default() };
        }
        let mut outcome = Ok(());
        let (v4, v6) = &self.accounts;
        tally.survey.emptied +=
            self.v4.walk(&clock, walk, |half| tally.add(&half), |entry| self.end(entry, v4, &mut outcome))?;
        tally.survey.emptied +=
            self.v6.walk(&clock, walk, |half| tally.add(&half), |entry| self.end(entry, v6, &mut outcome))?;
        outcome?;
        if self.accounted
            && walk == Walk::Emptying
            && self.walks.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1
        {
            sweep(&self.v4, v4, &clock)?;
            sweep(&self.v6, v6, &clock)?;
        }
        Ok(tally.into_survey())
    }

    fn visit(&self, visitor: &mut dyn FnMut(&Flow)) -> Result<(), KernelError> {
        let clock = self.clock()?;
        self.v4.walk(&clock, Walk::Looking, |half| show(&half, clock.now, visitor), |_| ())?;
        self.v6.walk(&clock, Walk::Looking, |half| show(&half, clock.now, visitor), |_| ())?;
        Ok(())
    }

    /// A half is over by its age; one that was closing has been told of by the packet that closed it.
    fn end<A: Accounted + MapAddress>(
        &self,
        entry: &FlowEntry<A>,
        accounts: &Accounts<OverflowKey<A>>,
        outcome: &mut Result<(), KernelError>,
    ) where
        OverflowKey<A>: Pod,
    {
        if entry.head.is_reply() || matches!(entry.head.state(), State::Empty | State::Busy | State::Closing)
        {
            return;
        }
        let mut stats = FlowStats::default();
        if self.accounted {
            match accounts.end(&entry.key().into()) {
                Ok(carried) => stats = carried,
                Err(error) => *outcome = Err(error),
            }
        }
        if self.ends.are_wanted() {
            self.ends.tell(nanoseconds_now(), told(entry), &stats);
        }
    }
}

/// Walks, one a second, from one look for accounts of flows that ended unseen to the next.
const SWEEP: u32 = 64;

/// Closes accounts of flows whose place another one took.
fn sweep<A: Accounted>(
    table: &Table<A>,
    accounts: &Accounts<OverflowKey<A>>,
    clock: &Clock,
) -> Result<(), KernelError>
where
    OverflowKey<A>: Pod + Ord,
    FlowEntry<A>: Pod,
{
    let mut keys = BTreeSet::new();
    accounts.for_each(|key| {
        keys.insert(*key);
    })?;
    table.without_entry(keys, clock)?.iter().try_for_each(|key| accounts.end(key).map(drop))
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
        self.loads.write(&survey);
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
        let table = if A::WORDS == Ipv4::WORDS { &mut self.survey.v4 } else { &mut self.survey.v6 };
        if half.overflowed {
            table.overflowed += 1;
        } else {
            table.entries += 1;
        }
        if half.is_out || head.is_reply() {
            return;
        }
        table.live += 1;
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
    let idle_ticks = u64::from(now.wrapping_sub(half.entry.last_seen));
    let idle = Duration::from_nanos(idle_ticks << TICK_SHIFT);
    Flow { idle, overflowed: half.overflowed, ..told(half.entry) }
}

/// The flow of a forward half, whenever it was seen last.
pub(super) fn told<A: MapAddress>(entry: &FlowEntry<A>) -> Flow {
    let FlowEntry { head, source, destination, backend, .. } = *entry;
    let (source_port, destination_port) = head.ports();
    let rewritten = entry.rewritten();
    Flow {
        protocol: head.protocol(),
        client: SocketAddr::new(source.ip(), source_port.get()),
        vip: SocketAddr::new(destination.ip(), destination_port.get()),
        server: SocketAddr::new(rewritten.destination.ip(), rewritten.destination_port.get()),
        source: SocketAddr::new(rewritten.source.ip(), rewritten.source_port.get()),
        backend,
        state: head.state(),
        idle: Duration::ZERO,
        overflowed: false,
    }
}

/// The clock that events are timed by.
fn nanoseconds_now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
