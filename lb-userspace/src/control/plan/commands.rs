//! Collects commands by stage, so that their order is right whatever the order in which they are found.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::control::maglev::Member;
use crate::control::model::{Desired, DesiredListener};
use crate::datapath::model::{
    BackendEntry, BackendId, BackendState, BalancerIndex, Command, ListenerAddress, ListenerEntry,
    ListenerIndex, Observed, Table, Terms, VipPolicy, ticks,
};

use super::ids::{BackendIds, ListenerIndices};
use super::leaving::Leaving;
use super::policies::Policies;
use super::ramp::Ramps;
use super::tables::Tables;

/// Which listener it is, as the datapath knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    pub(super) address: ListenerAddress,
    pub(super) index: ListenerIndex,
    pub(super) grants: Grants,
}

/// What a listener's clients are granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Grants {
    /// For new flows.
    pub(super) terms: Terms,
    /// Whose limits of packets hold.
    pub(super) limited_by: Option<BalancerIndex>,
}

/// What only time can tell of backends.
pub(super) struct Life<'a> {
    pub(super) leaving: &'a mut Leaving,
    pub(super) ramps: &'a mut Ramps,
    pub(super) now: Instant,
}

/// What differs, by the stage in which it changes.
#[derive(Debug)]
pub(super) struct Commands<'a> {
    observed: &'a Observed,
    guard: Vec<Command>,
    admit: Vec<Command>,
    point: Vec<Command>,
    listen: Vec<Command>,
    /// Tables that get smaller: only when their listener reads no further.
    shrink: Vec<Command>,
    own: Vec<Command>,
    disown: Vec<Command>,
    close: Vec<Command>,
    unpoint: Vec<Command>,
    evict: Vec<Command>,
    unguard: Vec<Command>,
}

impl<'a> Commands<'a> {
    pub(super) fn new(observed: &'a Observed) -> Self {
        Self {
            observed,
            guard: Vec::new(),
            admit: Vec::new(),
            point: Vec::new(),
            listen: Vec::new(),
            shrink: Vec::new(),
            own: Vec::new(),
            disown: Vec::new(),
            close: Vec::new(),
            unpoint: Vec::new(),
            evict: Vec::new(),
            unguard: Vec::new(),
        }
    }

    /// A listener with its backends and table. Returns the backends that found no id.
    pub(super) fn listener(
        &mut self,
        placed: Placed,
        listener: &DesiredListener,
        ids: &mut BackendIds<'_>,
        tables: &mut Tables,
        life: &mut Life<'_>,
    ) -> Vec<SocketAddr> {
        let Placed { address, index, grants } = placed;
        let mut left_out = Vec::new();
        let mut members = Vec::new();
        let mut member_ids = Vec::new();
        for (&server, backend) in &listener.backends {
            let takes_flows = backend.admitted && backend.weight > 0;
            let kept = ids.keep(index, server);
            let Some((id, generation)) = kept.or_else(|| if backend.admitted { ids.assign() } else { None })
            else {
                life.ramps.stop(address, server);
                left_out.extend(backend.admitted.then_some(server));
                continue;
            };
            let state = if takes_flows {
                let is_new = self.observed.backends.get(&id).is_none_or(|b| b.state != BackendState::Active);
                let step = life.ramps.step((address, server), is_new, listener.slow_start, life.now);
                life.leaving.stays((id, generation));
                members.push(Member { address: server, weight: backend.weight * step });
                member_ids.push(id);
                BackendState::Active
            } else {
                life.ramps.stop(address, server);
                life.leaving.state((id, generation), listener.draining, life.now)
            };
            let (placement, weight) = (backend.placement, u16::try_from(backend.weight).unwrap_or(u16::MAX));
            let (listener, limited_by) = (index, grants.limited_by);
            self.backend(
                id,
                BackendEntry { listener, address: server, placement, state, weight, generation, limited_by },
            );
        }
        let observed = self.observed.tables.get(&index);
        let table = tables.fill(address, (members, member_ids), listener.slots, observed);
        self.table(placed, listener, table);
        left_out
    }

    /// Source ranges and limits.
    pub(super) fn policies(&mut self, policies: &Policies<'_>) {
        (self.guard, self.unguard) = policies.changes(self.observed);
    }

    fn backend(&mut self, id: BackendId, entry: BackendEntry) {
        if self.observed.backends.get(&id) == Some(&entry) {
            return;
        }
        match entry.state {
            BackendState::Active => self.admit.push(Command::PutBackend(id, entry)),
            BackendState::Draining | BackendState::Dead => self.evict.push(Command::PutBackend(id, entry)),
        }
    }

    fn table(&mut self, placed: Placed, listener: &DesiredListener, table: Table) {
        let Placed { address, index, grants } = placed;
        let slots = u32::try_from(table.len()).unwrap_or(u32::MAX);
        let &DesiredListener { drop_unserved, selection, affinity, .. } = listener;
        let affinity = affinity.map_or(0, ticks);
        let terms = grants.terms;
        let entry = ListenerEntry { index, slots, drop_unserved, selection, affinity, terms };
        for piece in address.pieces() {
            if self.observed.listeners.get(&piece) != Some(&entry) {
                self.listen.push(Command::PutListener(piece, entry));
            }
        }
        match self.observed.tables.get(&index) {
            None if table.is_empty() => {}
            Some(_) if table.is_empty() => self.unpoint.push(Command::RemoveTable(index)),
            Some(old) if Table::ptr_eq(old, &table) || *old == table => {}
            Some(old) if old.len() > table.len() => self.shrink.push(Command::PutTable(index, table)),
            Some(_) | None => self.point.push(Command::PutTable(index, table)),
        }
    }

    /// A VIP and its policy.
    pub(super) fn vip(&mut self, vip: IpAddr, policy: VipPolicy) {
        if self.observed.vips.get(&vip) != Some(&policy) {
            self.own.push(Command::PutVip(vip, policy));
        }
    }

    /// All that is there and not desired.
    pub(super) fn remove_rest(
        &mut self,
        desired: &Desired,
        indices: &ListenerIndices<'_>,
        ids: &BackendIds<'_>,
        life: &mut Life<'_>,
    ) {
        let observed = self.observed;
        let vips = observed.vips.keys().filter(|vip| !desired.vips.contains_key(vip));
        self.disown.extend(vips.map(|vip| Command::RemoveVip(*vip)));

        let pieces: BTreeSet<_> = desired.listeners.keys().flat_map(|address| address.pieces()).collect();
        let listeners = observed.listeners.keys().filter(|address| !pieces.contains(address));
        self.close.extend(listeners.map(|address| Command::RemoveListener(*address)));

        let wanted: BTreeMap<_, _> = desired
            .listeners
            .iter()
            .filter_map(|(address, listener)| Some((indices.existing(*address)?, listener)))
            .collect();
        let tables = observed.tables.keys().filter(|index| !wanted.contains_key(index));
        self.unpoint.extend(tables.map(|index| Command::RemoveTable(*index)));

        for (id, entry) in ids.abandoned() {
            let time = wanted.get(&entry.listener).and_then(|listener| listener.draining);
            let state = match time {
                Some(_) if desired.running.contains(&entry.address.ip()) => {
                    life.leaving.state((id, entry.generation), time, life.now)
                }
                Some(_) | None => BackendState::Dead,
            };
            self.backend(id, BackendEntry { state, ..*entry });
        }
    }

    /// Admit before point, drain before evict.
    pub(super) fn in_order(self) -> Vec<Command> {
        let stages = [
            self.guard,
            self.admit,
            self.point,
            self.listen,
            self.shrink,
            self.own,
            self.disown,
            self.close,
            self.unpoint,
            self.evict,
            self.unguard,
        ];
        stages.into_iter().flatten().collect()
    }
}
