//! Which listener index and which backend id an entry has or gets.

use std::collections::{BTreeMap, btree_set};
use std::time::Instant;

use crate::datapath::model::{BackendId, ListenerAddress, ListenerIndex};

use super::REUSE_AFTER;
use super::catalogue::Catalogue;

/// Listener indices: kept where there is one, else the lowest free one.
#[derive(Clone, Default, Debug)]
pub(super) struct ListenerIndices {
    given: BTreeMap<ListenerAddress, ListenerIndex>,
    takers: BTreeMap<ListenerIndex, ListenerAddress>,
}

impl ListenerIndices {
    /// All listeners that have an index.
    pub(super) fn listeners(&self) -> impl Iterator<Item = ListenerAddress> {
        self.given.keys().copied()
    }

    /// The index that a desired listener was given.
    pub(super) fn of(&self, address: ListenerAddress) -> Option<ListenerIndex> {
        self.given.get(&address).copied()
    }

    /// The desired listener that an index was given to.
    pub(super) fn taker(&self, index: ListenerIndex) -> Option<ListenerAddress> {
        self.takers.get(&index).copied()
    }

    /// Takes its index from a listener.
    pub(super) fn release(&mut self, address: ListenerAddress) {
        if let Some(index) = self.given.remove(&address) {
            self.takers.remove(&index);
        }
    }

    /// Gives a listener its index; `None` when there is no room. A range whose ends have moved keeps that of its
    /// pieces, and so its backends.
    pub(super) fn give(
        &mut self,
        address: ListenerAddress,
        catalogue: &Catalogue,
        capacity: u32,
    ) -> Option<ListenerIndex> {
        let is_given = |index: &ListenerIndex| self.takers.contains_key(index);
        let own = catalogue.observed().listeners.get(&address).map(|entry| entry.index);
        let of_pieces = || {
            let pieces = catalogue.listeners_of(address.vip).filter(|(piece, _)| piece.overlaps(address));
            pieces.map(|(_, entry)| entry.index).find(|index| !is_given(index))
        };
        let free =
            || (0..capacity).map(ListenerIndex).find(|index| !is_given(index) && catalogue.is_free(*index));
        let index = own.filter(|index| !is_given(index)).or_else(of_pieces).or_else(free)?;
        self.given.insert(address, index);
        self.takers.insert(index, address);
        Some(index)
    }
}

/// Backend ids for those that are new: a rested one with its next generation, else a fresh one.
#[derive(Debug)]
pub(super) struct BackendIds<'a> {
    catalogue: &'a Catalogue,
    resting: btree_set::Iter<'a, (Instant, BackendId)>,
    fresh: u32,
    capacity: u32,
    now: Instant,
}

impl<'a> BackendIds<'a> {
    pub(super) fn new(catalogue: &'a Catalogue, capacity: u32, now: Instant) -> Self {
        Self { catalogue, resting: catalogue.resting(), fresh: catalogue.filled() + 1, capacity, now }
    }

    /// An id and generation for a new backend; `None` when there is no room.
    pub(super) fn assign(&mut self) -> Option<(BackendId, u8)> {
        let backends = &self.catalogue.observed().backends;
        let has_rested = |since: Instant| self.now.duration_since(since) >= REUSE_AFTER;
        if let Some(&(_, id)) = self.resting.next().filter(|(since, _)| has_rested(*since)) {
            return Some((id, backends.get(&id)?.generation.wrapping_add(1)));
        }
        let id = (self.fresh..self.capacity).find(|id| !backends.contains_key(&BackendId(*id)))?;
        self.fresh = id + 1;
        Some((BackendId(id), 0))
    }
}
