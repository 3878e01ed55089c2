//! Who is ready: thresholds over probe results (reference section 6 with decisions D2, D3).
//!
//! Pure: probes are started and stopped by [`Command`]s and report through [`Checks::handle_result`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::failure::ProbeFailed;
use super::model::{Backend, Health, OfBalancer, Reason, Snapshot, Target, Wanted, WantedBackends};
use crate::model::check::CheckedHealthCheck;
use crate::model::meta::NamespacedName;

/// Tells the results of a probe loop from those of its predecessor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProbeId(u64);

/// What the prober is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Probe from now on.
    Start {
        /// Goes with every result.
        id: ProbeId,
        /// Whom.
        backend: Backend,
        /// Where.
        address: SocketAddr,
        /// How.
        check: Arc<CheckedHealthCheck>,
    },
    /// Probe no more.
    Stop(ProbeId),
}

/// All backends.
#[derive(Default, Debug)]
pub struct Checks {
    backends: BTreeMap<NamespacedName, BTreeMap<Target, Entry>>,
    /// What was wanted last: what is shared with it has not changed.
    wanted: WantedBackends,
    /// Load balancers with other backends, or other checks of them, than a snapshot has been told.
    untold: BTreeSet<NamespacedName>,
    last_id: u64,
}

#[derive(Debug)]
struct Entry {
    health: Health,
    probe: Option<Probe>,
}

#[derive(Debug)]
struct Probe {
    id: ProbeId,
    check: Arc<CheckedHealthCheck>,
    /// Of equal results, up to now.
    in_a_row: u32,
    /// The latest result.
    succeeded: bool,
}

impl Checks {
    /// Takes over which backends there are. A new one with a check is not ready until probes say so, one without
    /// is ready; switching a check on, or changing its options, keeps the state and counts from 0; switching it
    /// off makes the backend ready. A listener that gets a check of its own, or returns to the load balancer's,
    /// keeps the state, too.
    pub fn handle_wanted(&mut self, wanted: &WantedBackends) -> Vec<Command> {
        let mut commands = Vec::new();
        let changed = self.wanted.differing(wanted);
        for lb in &changed {
            let mut entries = self.backends.remove(lb).unwrap_or_default();
            let nobody = OfBalancer::default();
            self.follow(lb, &mut entries, wanted.of(lb).unwrap_or(&nobody), &mut commands);
            if !entries.is_empty() {
                self.backends.insert(lb.clone(), entries);
            }
        }
        self.untold.extend(changed);
        self.wanted.clone_from(wanted);
        commands
    }

    /// Takes over which backends of one load balancer there are.
    fn follow(
        &mut self,
        lb: &NamespacedName,
        entries: &mut BTreeMap<Target, Entry>,
        wanted: &BTreeMap<Target, Wanted>,
        commands: &mut Vec<Command>,
    ) {
        let new = wanted.iter().filter(|(target, _)| !entries.contains_key(target));
        let fresh: Vec<(Target, Entry)> = new
            .map(|(target, wanted)| {
                let ready = was_ready(entries, target.address).unwrap_or(wanted.was_ready);
                let health = Health { ready, reason: Reason::NotProbed };
                (target.clone(), Entry { health, probe: None })
            })
            .collect();
        entries.retain(|target, entry| {
            let stays = wanted.contains_key(target);
            if !stays {
                commands.extend(entry.probe.take().map(|probe| Command::Stop(probe.id)));
            }
            stays
        });
        entries.extend(fresh);
        for (target, Wanted { check, .. }) in wanted {
            let Some(entry) = entries.get_mut(target) else { continue };
            if entry.probe.as_ref().map(|probe| &probe.check) == check.as_ref() && check.is_some() {
                continue;
            }
            commands.extend(entry.probe.take().map(|probe| Command::Stop(probe.id)));
            let Some(check) = check.clone() else {
                entry.health = Health { ready: true, reason: Reason::NotChecked };
                continue;
            };
            entry.health.reason = Reason::NotProbed;
            self.last_id += 1;
            let id = ProbeId(self.last_id);
            let address = SocketAddr::new(target.address, check.port.get());
            entry.probe = Some(Probe { id, check: Arc::clone(&check), in_a_row: 0, succeeded: false });
            let backend = Backend { lb: lb.clone(), target: target.clone() };
            commands.push(Command::Start { id, backend, address, check });
        }
    }

    /// Counts a probe's result. Whether the backend's health has changed is told; a result of a probe that has
    /// been stopped counts for nothing.
    pub fn handle_result(&mut self, backend: &Backend, id: ProbeId, result: Result<(), ProbeFailed>) -> bool {
        let entry = self.backends.get_mut(&backend.lb).and_then(|entries| entries.get_mut(&backend.target));
        let Some(entry) = entry else { return false };
        let Some(probe) = entry.probe.as_mut().filter(|probe| probe.id == id) else { return false };
        let before = entry.health.clone();
        let succeeded = result.is_ok();
        if probe.succeeded != succeeded {
            probe.in_a_row = 0;
        }
        probe.succeeded = succeeded;
        probe.in_a_row = probe.in_a_row.saturating_add(1);
        let threshold = match result {
            Ok(()) => probe.check.success_threshold,
            Err(_) => probe.check.failure_threshold,
        };
        if probe.in_a_row >= threshold.get() {
            entry.health.ready = succeeded;
        }
        entry.health.reason = result.map_or_else(Reason::Failed, |()| Reason::Succeeded);
        before != entry.health
    }

    /// How well one backend is.
    pub fn health(&self, backend: &Backend) -> Option<Health> {
        self.backends.get(&backend.lb)?.get(&backend.target).map(|entry| entry.health.clone())
    }

    /// Takes over into a snapshot what other wishes have changed; the results of probes are for the caller to insert.
    /// Whether anything is new is told.
    pub fn tell(&mut self, snapshot: &mut Snapshot) -> bool {
        let mut is_new = false;
        for lb in std::mem::take(&mut self.untold) {
            let entries = self.backends.get(&lb).into_iter().flatten();
            let health: BTreeMap<_, _> =
                entries.map(|(target, entry)| (target.clone(), entry.health.clone())).collect();
            let is_same = snapshot.of(&lb).map_or_else(|| health.is_empty(), |old| **old == health);
            if !is_same {
                snapshot.put(lb, health.into());
                is_new = true;
            }
        }
        is_new
    }
}

/// Whether a backend that a new check looks at was ready by the check that decided before: the load
/// balancer's, or those of listeners.
fn was_ready(entries: &BTreeMap<Target, Entry>, address: IpAddr) -> Option<bool> {
    // The load balancer's is the first in order.
    let mut before = entries.range(Target::from(address)..).take_while(|(other, _)| other.address == address);
    let (first, entry) = before.next()?;
    let is_shared = first.listener.is_none();
    Some(entry.health.ready || !is_shared && before.any(|(_, entry)| entry.health.ready))
}

#[cfg(test)]
mod tests;
