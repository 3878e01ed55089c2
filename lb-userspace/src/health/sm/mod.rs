//! Who is ready: thresholds over probe results (reference section 6 with decisions D2, D3).
//!
//! Pure: probes are started and stopped by [`Command`]s and report through [`Checks::handle_result`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::model::{Backend, Health, ProbeFailed, Reason, Snapshot, WantedBackends};
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
        check: CheckedHealthCheck,
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
    check: CheckedHealthCheck,
    /// Of equal results, up to now.
    in_a_row: u32,
    /// The latest result.
    succeeded: bool,
}

impl Checks {
    /// Takes over which backends there are. A new one with a check is not ready until probes say so, one without
    /// is ready; switching a check on, or changing its options, keeps the state and counts from 0; switching it
    /// off makes the backend ready.
    pub fn handle_wanted(&mut self, wanted: &WantedBackends) -> Vec<Command> {
        let mut commands = Vec::new();
        self.backends.retain(|backend, entry| {
            let stays = wanted.contains_key(backend);
            if !stays {
                commands.extend(entry.probe.take().map(|probe| Command::Stop(probe.id)));
            }
            stays
        });
        for (backend, wanted) in wanted.iter() {
            let reason = Reason::NotProbed;
            let fresh = Entry { health: Health { ready: wanted.was_ready, reason }, probe: None };
            let entry = self.backends.entry(backend.clone()).or_insert(fresh);
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
            let address = SocketAddr::new(backend.address, check.port.get());
            entry.probe = Some(Probe { id, check: check.clone(), in_a_row: 0, succeeded: false });
            commands.push(Command::Start { id, backend: backend.clone(), address, check });
        }
        commands
    }

    /// Counts a probe's result. Whether the backend's health has changed is told; a result of a probe that has
    /// been stopped counts for nothing.
    pub fn handle_result(&mut self, backend: &Backend, id: ProbeId, result: Result<(), ProbeFailed>) -> bool {
        let Some(entry) = self.backends.get_mut(backend) else { return false };
        let Some(probe) = entry.probe.as_mut().filter(|probe| probe.id == id) else { return false };
        let before = entry.health;
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
        self.backends.get(backend).map(|entry| entry.health)
    }

    /// How well everyone is.
    pub fn snapshot(&self) -> Snapshot {
        self.backends.iter().map(|(backend, entry)| (backend.clone(), entry.health)).collect()
    }
}

#[cfg(test)]
mod tests;
