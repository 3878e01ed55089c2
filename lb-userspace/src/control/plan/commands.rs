//! Collects commands by stage, so that their order is right whatever the order in which they are found.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::control::maglev::Member;
use crate::control::model::{Desired, DesiredListener};
use crate::datapath::model::{
    BackendEntry, BackendId, BackendState, BalancerIndex, Command, ListenerAddress, ListenerEntry,
    ListenerIndex, Table, Terms, ticks,
};

use super::catalogue::Catalogue;
use super::ids::{BackendIds, ListenerIndices};
use super::life::Life;
use super::policies::Balancers;
use super::scope::Scope;
use super::tables::Asked;

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

/// What differs, by the stage in which it changes.
#[derive(Debug)]
pub(super) struct Commands<'a> {
    catalogue: &'a Catalogue,
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
    pub(super) fn new(catalogue: &'a Catalogue) -> Self {
        Self {
            catalogue,
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

    /// The backends of a listener. Returns the table that it asks for, and the backends that found no id.
    pub(super) fn listener(
        &mut self,
        placed: Placed,
        (listener, desired): (&DesiredListener, &Desired),
        ids: &mut BackendIds<'_>,
        life: &mut Life<'_>,
    ) -> (Asked, Vec<SocketAddr>) {
        let Placed { address, index, grants } = placed;
        let mut living = self.catalogue.servers_at(index);
        let mut left_out = Vec::new();
        let mut members = Vec::new();
        let mut member_ids = Vec::new();
        for (&server, backend) in &listener.backends {
            let takes_flows = backend.admitted && backend.weight > 0;
            // Who takes none and has none to finish needs no id.
            let kept = self.kept(&mut living, server);
            let Some((id, generation)) = kept.or_else(|| if takes_flows { ids.assign() } else { None })
            else {
                left_out.extend(takes_flows.then_some(server));
                continue;
            };
            let state = if takes_flows {
                let before = self.catalogue.observed().backends.get(&id);
                let is_new = before.is_none_or(|before| before.state != BackendState::Active);
                let share = life.share(server, is_new, listener.slow_start);
                members.push(Member { address: server, weight: backend.weight * share });
                member_ids.push(id);
                BackendState::Active
            } else {
                life.leave(id, server, listener.draining)
            };
            let (placement, weight) = (backend.placement, u16::try_from(backend.weight).unwrap_or(u16::MAX));
            let (listener, limited_by) = (index, grants.limited_by);
            self.backend(
                id,
                BackendEntry { listener, address: server, placement, state, weight, generation, limited_by },
            );
        }
        for (server, id) in living {
            let may_finish = listener.draining.is_some() && desired.running.contains(&server.ip());
            let state =
                if may_finish { life.leave(id, server, listener.draining) } else { BackendState::Dead };
            self.end(id, state);
        }
        let asked = Asked { listener: address, index, members, ids: member_ids, slots: listener.slots };
        (asked, left_out)
    }

    /// The id and generation of a server among those that live; it stays its own.
    fn kept(
        &self,
        living: &mut BTreeSet<(SocketAddr, BackendId)>,
        server: SocketAddr,
    ) -> Option<(BackendId, u8)> {
        let (server, id) =
            living.range((server, BackendId(0))..=(server, BackendId(u32::MAX))).next().copied()?;
        living.remove(&(server, id));
        Some((id, self.catalogue.observed().backends.get(&id)?.generation))
    }

    /// A backend that is not desired.
    fn end(&mut self, id: BackendId, state: BackendState) {
        if let Some(entry) = self.catalogue.observed().backends.get(&id) {
            self.backend(id, BackendEntry { state, ..*entry });
        }
    }

    fn backend(&mut self, id: BackendId, entry: BackendEntry) {
        if self.catalogue.observed().backends.get(&id) == Some(&entry) {
            return;
        }
        match entry.state {
            BackendState::Active => self.admit.push(Command::PutBackend(id, entry)),
            BackendState::Draining | BackendState::Dead => self.evict.push(Command::PutBackend(id, entry)),
        }
    }

    /// A listener and its table.
    pub(super) fn table(&mut self, placed: Placed, listener: &DesiredListener, table: Table) {
        let observed = self.catalogue.observed();
        let Placed { address, index, grants } = placed;
        let slots = u32::try_from(table.len()).unwrap_or(u32::MAX);
        let &DesiredListener { drop_unserved, selection, affinity, .. } = listener;
        let affinity = affinity.map_or(0, ticks);
        let terms = grants.terms;
        let entry = ListenerEntry { index, slots, drop_unserved, selection, affinity, terms };
        for piece in address.pieces() {
            if observed.listeners.get(&piece) != Some(&entry) {
                self.listen.push(Command::PutListener(piece, entry));
            }
        }
        match observed.tables.get(&index) {
            None if table.is_empty() => {}
            Some(_) if table.is_empty() => self.unpoint.push(Command::RemoveTable(index)),
            Some(old) if Table::ptr_eq(old, &table) || *old == table => {}
            Some(old) if old.len() > table.len() => self.shrink.push(Command::PutTable(index, table)),
            Some(_) | None => self.point.push(Command::PutTable(index, table)),
        }
    }

    /// Source ranges and limits.
    pub(super) fn policies(&mut self, balancers: &Balancers, desired: &Desired, scope: &Scope) {
        (self.guard, self.unguard) = balancers.changes(desired, self.catalogue.observed(), scope);
    }

    /// A VIP and its policy.
    pub(super) fn vip(&mut self, vip: IpAddr, desired: &Desired) {
        let observed = self.catalogue.observed().vips.get(&vip);
        match desired.vips.get(&vip) {
            wanted if wanted == observed => {}
            Some(policy) => self.own.push(Command::PutVip(vip, *policy)),
            None => self.disown.push(Command::RemoveVip(vip)),
        }
    }

    /// All that is there and nobody's.
    pub(super) fn remove_rest(&mut self, scope: &Scope, desired: &Desired, indices: &ListenerIndices) {
        let wanted = scope.listeners.iter().filter(|listener| desired.listeners.contains_key(listener));
        let wanted: BTreeSet<_> = wanted.flat_map(|listener| listener.pieces()).collect();
        let pieces = scope.pieces.difference(&wanted);
        self.close.extend(pieces.map(|piece| Command::RemoveListener(*piece)));
        for index in scope.indices.iter().filter(|index| indices.taker(**index).is_none()) {
            if self.catalogue.observed().tables.contains_key(index) {
                self.unpoint.push(Command::RemoveTable(*index));
            }
            for (id, _) in self.catalogue.living_at(*index) {
                self.end(id, BackendState::Dead);
            }
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
