//! The Maglev tables of the last plan: filling one costs a million times what comparing its members does.

use std::collections::BTreeMap;

use crate::control::maglev::{self, Member};
use crate::control::model::DesiredListener;
use crate::datapath::model::ListenerAddress;

/// Tables by listener.
#[derive(Debug)]
pub(super) struct Tables {
    seed: u64,
    filled: BTreeMap<ListenerAddress, Filled>,
}

#[derive(Default, Debug)]
struct Filled {
    members: Vec<Member>,
    slots: u32,
    table: Vec<u32>,
}

impl Tables {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, filled: BTreeMap::new() }
    }

    /// Forgets the listeners that are no longer desired.
    pub(super) fn retain(&mut self, listeners: &BTreeMap<ListenerAddress, DesiredListener>) {
        self.filled.retain(|address, _| listeners.contains_key(address));
    }

    /// See [`maglev::table`].
    pub(super) fn fill(&mut self, listener: ListenerAddress, members: Vec<Member>, slots: u32) -> &[u32] {
        let filled = self.filled.entry(listener).or_default();
        if filled.members != members || filled.slots != slots {
            let table = maglev::table(&members, slots, self.seed);
            *filled = Filled { members, slots, table };
        }
        &filled.table
    }
}
