//! What the datapath holds, as plans look it up. Every command that is carried out is entered, so that a plan asks
//! for what it is about, and for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::control::counts::Counts;
use crate::datapath::model::{
    BackendEntry, BackendId, BackendState, BalancerIndex, Command, ListenerAddress, ListenerEntry,
    ListenerIndex, Observed,
};

/// The observed state, with indices to it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Catalogue {
    observed: Observed,
    /// Backends that are not dead.
    living: BTreeMap<ListenerIndex, BTreeSet<BackendId>>,
    /// Since when those that leave have been leaving. After a restart, since they were found.
    draining: BTreeMap<(IpAddr, BackendId), Instant>,
    /// Since when the dead have been dead, likewise.
    retired: BTreeMap<BackendId, Instant>,
    /// The same, those that have been so for longest first.
    resting: BTreeSet<(Instant, BackendId)>,
    /// How many listeners, or pieces of ranges, have each index.
    indices: Counts<ListenerIndex>,
    /// How many are of each load balancer.
    balancers: Counts<BalancerIndex>,
    /// So many ids from the first one on are taken.
    filled: u32,
}

impl Catalogue {
    /// Takes over what was read back. Who was known to leave or to be dead has been so for as long.
    pub fn replace(&mut self, observed: Observed, now: Instant) {
        let Self { draining, retired, .. } = std::mem::take(self);
        for entry in observed.listeners.values() {
            self.enter_listener(entry);
        }
        for (id, entry) in &observed.backends {
            let since = match entry.state {
                BackendState::Active => None,
                BackendState::Draining => draining.get(&(entry.address.ip(), *id)),
                BackendState::Dead => retired.get(id),
            };
            self.enter_backend(*id, entry, since.copied().unwrap_or(now));
        }
        self.observed = observed;
        self.fill();
    }

    /// Forgets all but since when backends have been as they are.
    pub fn forget(&mut self) {
        let Self { draining, retired, .. } = std::mem::take(self);
        *self = Self { draining, retired, ..Self::default() };
    }

    /// Enters a command that was carried out.
    pub fn apply(&mut self, command: &Command, now: Instant) {
        match command {
            Command::PutBackend(id, entry) => {
                let before = self.observed.backends.get(id).copied();
                let is_same = |before: &BackendEntry| {
                    (before.state, before.generation) == (entry.state, entry.generation)
                };
                let since =
                    before.and_then(|before| self.strike_backend(*id, &before).filter(|_| is_same(&before)));
                self.enter_backend(*id, entry, since.unwrap_or(now));
            }
            Command::PutListener(address, entry) => {
                self.strike_listener(*address);
                self.enter_listener(entry);
            }
            Command::RemoveListener(address) => self.strike_listener(*address),
            Command::PutVip(..)
            | Command::RemoveVip(..)
            | Command::PutTable(..)
            | Command::RemoveTable(..)
            | Command::PutSource(..)
            | Command::RemoveSource(..)
            | Command::PutLimits(..) => {}
        }
        self.observed.apply(command);
        self.fill();
    }

    fn fill(&mut self) {
        while self.observed.backends.contains_key(&BackendId(self.filled + 1)) {
            self.filled += 1;
        }
    }

    fn enter_backend(&mut self, id: BackendId, entry: &BackendEntry, since: Instant) {
        if entry.state != BackendState::Dead {
            self.living.entry(entry.listener).or_default().insert(id);
        }
        match entry.state {
            BackendState::Active => {}
            BackendState::Draining => {
                self.draining.insert((entry.address.ip(), id), since);
            }
            BackendState::Dead => {
                self.retired.insert(id, since);
                self.resting.insert((since, id));
            }
        }
    }

    /// Tells since when it had been leaving or dead.
    fn strike_backend(&mut self, id: BackendId, entry: &BackendEntry) -> Option<Instant> {
        if let Some(living) = self.living.get_mut(&entry.listener) {
            living.remove(&id);
            if living.is_empty() {
                self.living.remove(&entry.listener);
            }
        }
        let retired = self.retired.remove(&id);
        if let Some(since) = retired {
            self.resting.remove(&(since, id));
        }
        self.draining.remove(&(entry.address.ip(), id)).or(retired)
    }

    fn enter_listener(&mut self, entry: &ListenerEntry) {
        self.indices.add(entry.index);
        self.balancers.add(entry.terms.balancer);
    }

    fn strike_listener(&mut self, address: ListenerAddress) {
        if let Some(entry) = self.observed.listeners.get(&address) {
            self.indices.remove(entry.index);
            self.balancers.remove(entry.terms.balancer);
        }
    }

    /// All that is held.
    pub const fn observed(&self) -> &Observed {
        &self.observed
    }

    /// The listeners of a VIP, and the pieces of its ranges.
    pub(super) fn listeners_of(
        &self,
        vip: IpAddr,
    ) -> impl Iterator<Item = (ListenerAddress, &ListenerEntry)> {
        let of_vip = self.observed.listeners.range(ListenerAddress::range_of(vip));
        of_vip.map(|(address, entry)| (*address, entry))
    }

    /// Nobody's: not even that of backends of a listener that is gone, which count for it until they are dead.
    pub(super) fn is_free(&self, index: ListenerIndex) -> bool {
        let is_taken = self.indices.contains(&index)
            || self.observed.tables.contains_key(&index)
            || self.living.contains_key(&index);
        !is_taken
    }

    /// Nobody's: what is left of a load balancer that has gone rests until it has gone, too.
    pub(super) fn is_free_balancer(&self, index: BalancerIndex) -> bool {
        let is_taken = self.balancers.contains(&index)
            || self.observed.sources.contains_key(&index)
            || self.observed.limits.contains_key(&index);
        !is_taken
    }

    /// Whose backends are not all dead.
    pub(super) fn inhabited(&self) -> impl Iterator<Item = ListenerIndex> {
        self.living.keys().copied()
    }

    /// The backends of a listener that are not dead.
    pub(super) fn living_at(&self, index: ListenerIndex) -> impl Iterator<Item = (BackendId, &BackendEntry)> {
        let ids = self.living.get(&index).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.observed.backends.get(id)?)))
    }

    /// The same, by server.
    pub(super) fn servers_at(&self, index: ListenerIndex) -> BTreeSet<(SocketAddr, BackendId)> {
        self.living_at(index).map(|(id, entry)| (entry.address, id)).collect()
    }

    /// Since when a backend has been leaving.
    pub(super) fn draining_since(&self, id: BackendId, address: IpAddr) -> Option<Instant> {
        self.draining.get(&(address, id)).copied()
    }

    /// The listeners that backends at an address are leaving.
    pub(super) fn left_at(&self, address: IpAddr) -> impl Iterator<Item = ListenerIndex> {
        let leaving = self.draining.range((address, BackendId(0))..=(address, BackendId(u32::MAX)));
        leaving.filter_map(|((_, id), _)| Some(self.observed.backends.get(id)?.listener))
    }

    /// The dead, those that have been so for longest first, with since when.
    pub(super) fn resting(&self) -> std::collections::btree_set::Iter<'_, (Instant, BackendId)> {
        self.resting.iter()
    }

    /// How many ids from the first one on are taken.
    pub(super) const fn filled(&self) -> u32 {
        self.filled
    }
}
