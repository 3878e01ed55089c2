//! What to do next: the commands that lead from the observed state to the desired one.
//!
//! Input: [`Desired`], [`Observed`] and the time. Output: [`Plan`]. Nothing is remembered that a restart would
//! need: indices, ids and generations are read back from the datapath, so a restart changes no entry that did
//! not have to change.
//!
//! Architecture invariant: at every prefix of a plan, no table points to a backend that takes no packets, and
//! no listener that has a ready backend before and after is without one in between.

mod catalogue;
mod commands;
mod ids;
mod life;
mod policies;
mod ramp;
mod scope;
mod tables;
#[cfg(test)]
mod tests;
mod timetable;
mod withdrawal;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::datapath::model::{Command, ListenerAddress};

use super::model::{Altered, Desired};
pub use catalogue::Catalogue;
use commands::{Commands, Grants, Placed};
use ids::{BackendIds, ListenerIndices};
use life::Life;
use policies::Balancers;
use scope::Scope;
use tables::Tables;
use timetable::Timetable;
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

/// Plans, and remembers between plans what it would find out again, and what only time can tell.
#[derive(Clone, Debug)]
pub struct Planner {
    capacity: Capacity,
    indices: ListenerIndices,
    balancers: Balancers,
    tables: Tables,
    timetable: Timetable,
}

impl Planner {
    /// `seed` decides about the Maglev tables and is the same on all nodes and in every run.
    pub fn new(capacity: Capacity, seed: u64) -> Self {
        Self {
            capacity,
            indices: ListenerIndices::default(),
            balancers: Balancers::default(),
            tables: Tables::new(seed),
            timetable: Timetable::default(),
        }
    }

    /// When the next plan is due if nothing changes: a backend's time to finish is over, or its share rises.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timetable.poll_timeout()
    }

    /// The commands that lead to `desired`. None, if what is observed is already like it.
    pub fn plan(&mut self, desired: &Desired, catalogue: &Catalogue, now: Instant) -> Plan {
        let scope = Scope::whole(self, desired, catalogue);
        self.plan_for(&scope, desired, catalogue, now)
    }

    /// As [`Planner::plan`], where all commands of the plan before were carried out and nothing but what was altered
    /// is desired otherwise since then. It costs what was altered, and what time has come for.
    pub fn plan_changes(
        &mut self,
        desired: &Desired,
        catalogue: &Catalogue,
        altered: &Altered,
        now: Instant,
    ) -> Plan {
        let scope = Scope::of(self, altered, catalogue, now);
        self.plan_for(&scope, desired, catalogue, now)
    }

    fn plan_for(&mut self, scope: &Scope, desired: &Desired, catalogue: &Catalogue, now: Instant) -> Plan {
        scope.listeners.iter().for_each(|listener| self.indices.release(*listener));
        scope.vips.iter().for_each(|vip| self.balancers.release(*vip));
        for &vip in scope.vips.iter().filter(|vip| desired.has_listener(**vip)) {
            self.balancers.give(vip, catalogue);
        }
        let mut ids = BackendIds::new(catalogue, self.capacity.backends, now);
        let mut commands = Commands::new(catalogue);
        let mut plan = Plan::default();
        let (mut placed_listeners, mut asked) = (Vec::new(), Vec::new());
        for &address in &scope.listeners {
            let rising = self.timetable.take(address);
            let Some(listener) = desired.listeners.get(&address) else {
                self.tables.forget(address);
                continue;
            };
            let index = self.indices.give(address, catalogue, self.capacity.listeners);
            let terms = self.balancers.terms(desired, address, listener.strict);
            let (Some(index), Some(terms)) = (index, terms) else {
                plan.unplaced_listeners.push(address);
                continue;
            };
            let grants = Grants { terms, limited_by: self.balancers.limited_by(desired, address.vip) };
            let placed = Placed { address, index, grants };
            let mut life = Life::new(catalogue, rising, now);
            let (table, left_out) = commands.listener(placed, (listener, desired), &mut ids, &mut life);
            placed_listeners.push((placed, listener));
            asked.push(table);
            plan.unplaced_backends.extend(left_out.into_iter().map(|backend| (address, backend)));
            let (rising, due) = life.end();
            self.timetable.put(address, rising, due);
        }
        let tables = self.tables.fill(asked, &catalogue.observed().tables);
        for ((placed, listener), table) in placed_listeners.into_iter().zip(tables) {
            commands.table(placed, listener, table);
        }
        scope.vips.iter().for_each(|vip| commands.vip(*vip, desired));
        commands.policies(&self.balancers, desired, scope);
        commands.remove_rest(scope, desired, &self.indices);
        plan.commands = commands.in_order();
        plan
    }
}
