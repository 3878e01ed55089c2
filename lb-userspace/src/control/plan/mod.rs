//! What to do next: the commands that lead from the observed state to the desired one.
//!
//! Input: [`Desired`], [`Observed`] and the time. Output: [`Plan`]. Nothing is remembered that a restart would
//! need: indices, ids and generations are read back from the datapath, so a restart changes no entry that did
//! not have to change.
//!
//! Architecture invariant: at every prefix of a plan, no table points to a backend that takes no packets, and
//! no listener that has a ready backend before and after is without one in between.

mod commands;
mod ids;
mod leaving;
mod policies;
mod ramp;
mod tables;
#[cfg(test)]
mod tests;
mod withdrawal;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::datapath::model::{Command, ListenerAddress, Observed};

use super::model::Desired;
use commands::{Commands, Grants, Life, Placed};
use ids::{BackendIds, ListenerIndices, Retired};
use leaving::Leaving;
use policies::Policies;
use ramp::Ramps;
use tables::Tables;
pub use withdrawal::withdrawal;

/// How long the id of a dead backend rests before another backend gets it. Packets that are under way, and
/// flows that are 256 generations old, have gone by then.
pub const REUSE_AFTER: Duration = Duration::from_mins(1);

/// How many entries the datapath has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Listeners.
    pub listeners: u32,
    /// Backends of all listeners, dead ones included; id 0 is never used.
    pub backends: u32,
}

/// The commands, and what they leave out.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// In the order in which they must be executed; the first failure ends the plan.
    pub commands: Vec<Command>,
    /// Listeners that found no free index.
    pub unplaced_listeners: Vec<ListenerAddress>,
    /// Backends that found no free id.
    pub unplaced_backends: Vec<(ListenerAddress, SocketAddr)>,
}

/// Plans, and remembers between plans what only time can tell.
#[derive(Debug)]
pub struct Planner {
    capacity: Capacity,
    retired: Retired,
    tables: Tables,
    leaving: Leaving,
    ramps: Ramps,
}

impl Planner {
    /// `seed` decides about the Maglev tables and is the same on all nodes and in every run.
    pub fn new(capacity: Capacity, seed: u64) -> Self {
        Self {
            capacity,
            retired: Retired::default(),
            tables: Tables::new(seed),
            leaving: Leaving::default(),
            ramps: Ramps::default(),
        }
    }

    /// When the next plan is due if nothing changes: a backend's time to finish is over, or its share rises.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.leaving.poll_timeout(), self.ramps.poll_timeout()].into_iter().flatten().min()
    }

    /// The commands that lead to `desired`. None, if `observed` is already like it.
    pub fn plan(&mut self, desired: &Desired, observed: &Observed, now: Instant) -> Plan {
        self.tables.retain(&desired.listeners);
        self.leaving.begin();
        let plan = self.plan_where(desired, observed, now, |_| true);
        self.leaving.end();
        plan
    }

    /// As [`Planner::plan`], where `observed` is like what was desired before, but for the listeners in `changed`:
    /// those that were desired otherwise, or not at all.
    pub fn plan_changes(
        &mut self,
        desired: &Desired,
        observed: &Observed,
        changed: &BTreeSet<ListenerAddress>,
        now: Instant,
    ) -> Plan {
        self.plan_where(desired, observed, now, |address| changed.contains(address))
    }

    fn plan_where(
        &mut self,
        desired: &Desired,
        observed: &Observed,
        now: Instant,
        is_wanted: impl Fn(&ListenerAddress) -> bool,
    ) -> Plan {
        self.retired.refresh(&observed.backends, now);
        self.ramps.retain(|listener, server| {
            desired.listeners.get(&listener).is_some_and(|entry| entry.backends.contains_key(&server))
        });
        let mut indices = ListenerIndices::new(observed, self.capacity.listeners);
        let mut policies = Policies::new(desired, observed);
        let mut commands = Commands::new(observed);
        let mut placed = Vec::new();
        let mut plan = Plan::default();
        for (&address, listener) in &desired.listeners {
            let terms = policies.terms(address, listener.strict);
            let (Some(index), Some(terms)) = (indices.of(address), terms) else {
                plan.unplaced_listeners.push(address);
                continue;
            };
            let grants = Grants { terms, limited_by: policies.limited_by(address.vip) };
            placed.push((Placed { address, index, grants }, listener));
        }
        let passed_over = placed.iter().filter(|(placed, _)| !is_wanted(&placed.address));
        let passed_over = passed_over.map(|(placed, _)| placed.index).collect();
        let reusable = self.retired.reusable(now);
        let mut ids = BackendIds::new(&observed.backends, &passed_over, reusable, self.capacity.backends);
        let mut life = Life { leaving: &mut self.leaving, ramps: &mut self.ramps, now };
        for (placed, listener) in placed {
            let address = placed.address;
            if !is_wanted(&address) {
                continue;
            }
            let left_out = commands.listener(placed, listener, &mut ids, &mut self.tables, &mut life);
            plan.unplaced_backends.extend(left_out.into_iter().map(|backend| (address, backend)));
        }
        for (&vip, &policy) in &desired.vips {
            commands.vip(vip, policy);
        }
        commands.policies(&policies);
        commands.remove_rest(desired, &indices, &ids, &mut life);
        plan.commands = commands.in_order();
        plan
    }
}
