//! The Maglev tables of the last plan: filling one costs a million times what comparing its members does.

use std::collections::BTreeMap;
use std::thread::Builder;

use crate::control::maglev::{self, Member};
use crate::datapath::model::{BackendId, ListenerAddress, ListenerIndex, Table};

/// Tables by listener.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    seed: u64,
    filled: BTreeMap<ListenerAddress, Filled>,
}

/// A table that a plan asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) listener: ListenerAddress,
    pub(super) index: ListenerIndex,
    pub(super) members: Vec<Member>,
    /// Those of the members.
    pub(super) ids: Vec<BackendId>,
    pub(super) slots: u32,
}

#[derive(Clone, Debug)]
struct Filled {
    members: Vec<Member>,
    ids: Vec<BackendId>,
    slots: u32,
    table: Table,
}

impl Tables {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, filled: BTreeMap::new() }
    }

    /// Forgets a listener that is no longer desired.
    pub(super) fn forget(&mut self, listener: ListenerAddress) {
        self.filled.remove(&listener);
    }

    /// The tables of listeners: see [`maglev::table`]. Of tables that are alike, the one that the datapath has is kept, so
    /// that there is one.
    pub(super) fn fill(&mut self, all: Vec<Asked>, observed: &BTreeMap<ListenerIndex, Table>) -> Vec<Table> {
        let mut tables: Vec<_> = all.iter().map(|asked| self.known(asked)).collect();
        let unknown = all.iter().zip(&mut tables).filter(|(_, table)| table.is_none());
        fill_together(&mut unknown.collect::<Vec<_>>(), self.seed);
        let mut kept = |asked: Asked, table: Table| {
            let alike = observed.get(&asked.index).filter(|observed| is_alike(observed, &table));
            let table = alike.map_or(table, Table::clone);
            let Asked { listener, members, ids, slots, .. } = asked;
            self.filled.insert(listener, Filled { members, ids, slots, table: Table::clone(&table) });
            table
        };
        all.into_iter().zip(tables.into_iter().flatten()).map(|(asked, table)| kept(asked, table)).collect()
    }

    /// The table, if its listener had the same members in the last plan.
    fn known(&self, asked: &Asked) -> Option<Table> {
        let filled = self.filled.get(&asked.listener)?;
        let is_same =
            (&filled.members, &filled.ids, filled.slots) == (&asked.members, &asked.ids, asked.slots);
        is_same.then(|| Table::clone(&filled.table))
    }
}

fn is_alike(one: &Table, other: &Table) -> bool {
    Table::ptr_eq(one, other) || one == other
}

/// Fills tables, many of them on several processors.
fn fill_together(unknown: &mut [(&Asked, &mut Option<Table>)], seed: u64) {
    /// What is worth the start of a thread.
    const MANY: usize = 4;
    const THREADS: usize = 4;
    let share = unknown.len().div_ceil(THREADS).max(MANY);
    let Some((here, beside)) = unknown.split_at_mut_checked(share) else { return fill_each(unknown, seed) };
    std::thread::scope(|scope| {
        for share in beside.chunks_mut(share) {
            // The share of a thread that can't be started is left.
            drop(Builder::new().spawn_scoped(scope, || fill_each(share, seed)));
        }
        fill_each(here, seed);
    });
    fill_each(unknown, seed);
}

fn fill_each(unknown: &mut [(&Asked, &mut Option<Table>)], seed: u64) {
    for (asked, table) in unknown.iter_mut().filter(|(_, table)| table.is_none()) {
        let positions = maglev::table(&asked.members, asked.slots, seed);
        **table = Some(Table::of(&asked.ids, &positions));
    }
}
