//! Which listener index and which backend id an entry has or gets.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use crate::datapath::model::{
    BackendEntry, BackendId, BackendState, ListenerAddress, ListenerIndex, Observed,
};

use super::REUSE_AFTER;

/// Since when each dead backend has been dead. After a restart, all of them since now.
#[derive(Default, Debug)]
pub(super) struct Retired {
    since: BTreeMap<BackendId, Instant>,
}

impl Retired {
    /// Takes note of who is dead.
    pub(super) fn refresh(&mut self, backends: &BTreeMap<BackendId, BackendEntry>, now: Instant) {
        let is_dead = |id: &BackendId| backends.get(id).is_some_and(|b| b.state == BackendState::Dead);
        self.since.retain(|id, _| is_dead(id));
        for &id in backends.keys().filter(|id| is_dead(id)) {
            self.since.entry(id).or_insert(now);
        }
    }

    /// Ids that may serve again, those that have rested longest last.
    pub(super) fn reusable(&self, now: Instant) -> Vec<BackendId> {
        let rested = |&(_, since): &(&BackendId, &Instant)| now.duration_since(*since) >= REUSE_AFTER;
        let mut ids: Vec<_> = self.since.iter().filter(rested).map(|(id, since)| (*since, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().rev().map(|(_, id)| id).collect()
    }
}

/// Listener indices: kept where there is one, else the lowest free one.
#[derive(Debug)]
pub(super) struct ListenerIndices<'a> {
    /// What listeners, or pieces of their ranges, have.
    observed: BTreeMap<ListenerAddress, ListenerIndex>,
    kept: BTreeMap<ListenerAddress, ListenerIndex>,
    claimed: BTreeSet<ListenerIndex>,
    used: BTreeSet<ListenerIndex>,
    backends: &'a BTreeMap<BackendId, BackendEntry>,
    /// What living backends have: looked up when the first new index is needed.
    lived_at: OnceCell<BTreeSet<ListenerIndex>>,
    capacity: u32,
}

impl<'a> ListenerIndices<'a> {
    pub(super) fn new(observed: &'a Observed, capacity: u32) -> Self {
        let listeners: BTreeMap<_, _> =
            observed.listeners.iter().map(|(address, entry)| (*address, entry.index)).collect();
        // A table without listener is going; its index rests until it has gone.
        let used = listeners.values().chain(observed.tables.keys()).copied().collect();
        let (kept, claimed, lived_at) = (BTreeMap::new(), BTreeSet::new(), OnceCell::new());
        Self { observed: listeners, kept, claimed, used, backends: &observed.backends, lived_at, capacity }
    }

    /// The index of a listener; `None` when there is no room. A range whose ends have moved keeps that of its
    /// pieces, and so its backends.
    pub(super) fn of(&mut self, address: ListenerAddress) -> Option<ListenerIndex> {
        let own = self.observed.get(&address).copied().filter(|index| !self.claimed.contains(index));
        let index = own.or_else(|| self.of_pieces(address)).or_else(|| self.free())?;
        self.used.insert(index);
        self.claimed.insert(index);
        self.kept.insert(address, index);
        Some(index)
    }

    fn of_pieces(&self, address: ListenerAddress) -> Option<ListenerIndex> {
        let mut pieces = self.observed.iter().filter(|(piece, _)| piece.overlaps(address));
        pieces.find(|(_, index)| !self.claimed.contains(index)).map(|(_, index)| *index)
    }

    /// Nobody's, not even that of the backends of a listener that is gone: they count for it until they are dead.
    fn free(&self) -> Option<ListenerIndex> {
        let lived_at = self.lived_at.get_or_init(|| {
            let living = self.backends.values().filter(|backend| backend.state != BackendState::Dead);
            living.map(|backend| backend.listener).collect()
        });
        let is_taken = |index: &ListenerIndex| self.used.contains(index) || lived_at.contains(index);
        (0..self.capacity).map(ListenerIndex).find(|index| !is_taken(index))
    }

    /// The index that a desired listener was given.
    pub(super) fn existing(&self, address: ListenerAddress) -> Option<ListenerIndex> {
        self.kept.get(&address).copied()
    }
}

/// Backend ids: kept while the backend lives, else a rested one with its next generation, else a fresh one.
#[derive(Debug)]
pub(super) struct BackendIds<'a> {
    observed: &'a BTreeMap<BackendId, BackendEntry>,
    living: BTreeMap<(ListenerIndex, SocketAddr), BackendId>,
    kept: BTreeSet<BackendId>,
    reusable: Vec<BackendId>,
    /// Listeners whose backends are left alone.
    passed_over: &'a BTreeSet<ListenerIndex>,
    fresh: u32,
    capacity: u32,
}

impl<'a> BackendIds<'a> {
    pub(super) fn new(
        observed: &'a BTreeMap<BackendId, BackendEntry>,
        passed_over: &'a BTreeSet<ListenerIndex>,
        reusable: Vec<BackendId>,
        capacity: u32,
    ) -> Self {
        let mut living = BTreeMap::new();
        let is_looked_at = |entry: &BackendEntry| {
            entry.state != BackendState::Dead && !passed_over.contains(&entry.listener)
        };
        for (&id, entry) in observed.iter().filter(|(_, entry)| is_looked_at(entry)) {
            living.entry((entry.listener, entry.address)).or_insert(id);
        }
        // Where there is no gap, none has to be looked for.
        let last = observed.last_key_value().map_or(0, |(id, _)| id.0);
        let fresh = if observed.len() == last as usize { last + 1 } else { 1 };
        Self { observed, living, kept: BTreeSet::new(), reusable, passed_over, fresh, capacity }
    }

    /// The id and generation of a backend that lives; it stays its own.
    pub(super) fn keep(&mut self, listener: ListenerIndex, address: SocketAddr) -> Option<(BackendId, u8)> {
        let id = *self.living.get(&(listener, address))?;
        self.kept.insert(id);
        Some((id, self.observed.get(&id)?.generation))
    }

    /// An id and generation for a new backend; `None` when there is no room.
    pub(super) fn assign(&mut self) -> Option<(BackendId, u8)> {
        if let Some(id) = self.reusable.pop() {
            self.kept.insert(id);
            return Some((id, self.observed.get(&id)?.generation.wrapping_add(1)));
        }
        let free = |id: &u32| !self.observed.contains_key(&BackendId(*id));
        let id = (self.fresh..self.capacity).find(free)?;
        self.fresh = id + 1;
        Some((BackendId(id), 0))
    }

    /// Living backends that nobody asked for.
    pub(super) fn abandoned(&self) -> impl Iterator<Item = (BackendId, &'a BackendEntry)> {
        let abandoned = |(id, entry): &(&BackendId, &BackendEntry)| {
            let is_kept = self.kept.contains(*id) || self.passed_over.contains(&entry.listener);
            entry.state != BackendState::Dead && !is_kept
        };
        self.observed.iter().filter(abandoned).map(|(id, entry)| (*id, entry))
    }
}
