//! The Maglev tables of the last plan: filling one costs a million times what comparing its members does.

use std::collections::BTreeMap;

use crate::control::maglev::{self, Member};
use crate::datapath::model::{BackendId, ListenerAddress, Table};

/// Tables by listener.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    seed: u64,
    filled: BTreeMap<ListenerAddress, Filled>,
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

    /// The table of a listener: see [`maglev::table`]. `ids` are those of the members. Of tables that are alike,
    /// the one that the datapath has is kept, so that there is one.
    pub(super) fn fill(
        &mut self,
        listener: ListenerAddress,
        (members, ids): (Vec<Member>, Vec<BackendId>),
        slots: u32,
        observed: Option<&Table>,
    ) -> Table {
        let is_same =
            |filled: &Filled| (&filled.members, &filled.ids, filled.slots) == (&members, &ids, slots);
        let known = self.filled.get(&listener).filter(|filled| is_same(filled));
        let mut table = known.map_or_else(
            || {
                let positions = maglev::table(&members, slots, self.seed);
                positions.iter().filter_map(|&at| ids.get(at as usize).copied()).collect()
            },
            |filled| Table::clone(&filled.table),
        );
        if let Some(observed) = observed.filter(|observed| !Table::ptr_eq(observed, &table))
            && *observed == table
        {
            table = Table::clone(observed);
        }
        self.filled.insert(listener, Filled { members, ids, slots, table: Table::clone(&table) });
        table
    }
}
