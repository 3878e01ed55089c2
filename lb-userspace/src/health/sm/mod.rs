//! Who is ready: thresholds over probe results (reference section 6 with decisions D2, D3).
//!
//! Pure: probes are started and stopped by [`Command`]s and report through [`Checks::handle_result`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::failure::ProbeFailed;
use super::model::{Backend, Health, Reason, Snapshot, WantedBackends};
use crate::model::check::CheckedHealthCheck;

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
    backends: BTreeMap<Backend, Entry>,
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
        let new = wanted.iter().filter(|(backend, _)| !self.backends.contains_key(backend));
        let fresh: Vec<(Backend, Entry)> = new
            .map(|(backend, wanted)| {
                let ready = self.was_ready(&backend).unwrap_or(wanted.was_ready);
                (backend, Entry { health: Health { ready, reason: Reason::NotProbed }, probe: None })
            })
            .collect();
        let mut commands = Vec::new();
        self.backends.retain(|backend, entry| {
            let stays = wanted.contains_key(backend);
            if !stays {
                commands.extend(entry.probe.take().map(|probe| Command::Stop(probe.id)));
            }
            stays
        });
        self.backends.extend(fresh);
        for (backend, wanted) in wanted.iter() {
            let Some(entry) = self.backends.get_mut(&backend) else { continue };
            if entry.probe.as_ref().map(|probe| &probe.check) == wanted.check.as_ref() {
                if wanted.check.is_none() {
                    entry.health = Health { ready: true, reason: Reason::NotChecked };
                }
                continue;
            }
            commands.extend(entry.probe.take().map(|probe| Command::Stop(probe.id)));
            let Some(check) = wanted.check.clone() else {
                entry.health = Health { ready: true, reason: Reason::NotChecked };
                continue;
            };
            entry.health.reason = Reason::NotProbed;
            self.last_id += 1;
            let id = ProbeId(self.last_id);
            let address = SocketAddr::new(backend.target.address, check.port.get());
            entry.probe = Some(Probe { id, check: Arc::clone(&check), in_a_row: 0, succeeded: false });
            commands.push(Command::Start { id, backend, address, check });
        }
        commands
    }

    /// Whether a backend that a new check looks at was ready by the check that decided before: the load
    /// balancer's, or those of listeners.
    fn was_ready(&self, backend: &Backend) -> Option<bool> {
        let address = backend.target.address;
        let shared = Backend::new(backend.lb.clone(), address);
        let is_of = |other: &Backend| other.lb == backend.lb && other.target.address == address;
        // The load balancer's is the first in order.
        let mut before = self.backends.range(shared..).take_while(|(other, _)| is_of(other));
        let (first, entry) = before.next()?;
        let is_shared = first.target.listener.is_none();
        Some(entry.health.ready || !is_shared && before.any(|(_, entry)| entry.health.ready))
    }

    /// Counts a probe's result. Whether the backend's health has changed is told; a result of a probe that has
    /// been stopped counts for nothing.
    pub fn handle_result(&mut self, backend: &Backend, id: ProbeId, result: Result<(), ProbeFailed>) -> bool {
        let Some(entry) = self.backends.get_mut(backend) else { return false };
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
        self.backends.get(backend).map(|entry| entry.health.clone())
    }

    /// How well everyone is.
    pub fn snapshot(&self) -> Snapshot {
        self.backends.iter().map(|(backend, entry)| (backend.clone(), entry.health.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
