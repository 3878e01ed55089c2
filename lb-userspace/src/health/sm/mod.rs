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
    /// Those that are probed.
    probed: BTreeMap<NamespacedName, Probed>,
    /// What was wanted last: what is shared with it has not changed. Who is in there, and is not probed, is ready.
    wanted: WantedBackends,
    /// Load balancers with other backends, or other checks of them, than a snapshot has been told.
    untold: BTreeSet<NamespacedName>,
    last_id: u64,
}

/// Those of one load balancer.
type Probed = BTreeMap<Target, Entry>;

#[derive(Debug)]
struct Entry {
    health: Health,
    probe: ProbeId,
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
        let before = std::mem::replace(&mut self.wanted, wanted.clone());
        let nobody = OfBalancer::default();
        for lb in &changed {
            let (before, wanted) = (before.of(lb).unwrap_or(&nobody), wanted.of(lb).unwrap_or(&nobody));
            self.follow(lb, before, wanted, &mut commands);
        }
        self.untold.extend(changed);
        commands
    }

    /// Takes over which backends of one load balancer there are.
    fn follow(
        &mut self,
        lb: &NamespacedName,
        before: &BTreeMap<Target, Wanted>,
        wanted: &BTreeMap<Target, Wanted>,
        commands: &mut Vec<Command>,
    ) {
        let mut probed = self.probed.remove(lb).unwrap_or_default();
        let goes_on = |target: &Target, entry: &Entry| {
            wanted.get(target).is_some_and(|wanted| wanted.check.as_ref() == Some(&entry.check))
        };
        let checked =
            wanted.iter().filter_map(|(target, wanted)| Some((target, wanted, wanted.check.as_ref()?)));
        let starting =
            checked.filter(|(target, ..)| !probed.get(target).is_some_and(|entry| goes_on(target, entry)));
        let starting: Vec<_> = starting
            .map(|(target, wanted, check)| {
                let known = before.contains_key(target).then(|| is_ready(&probed, target));
                let known = known.or_else(|| was_ready(&probed, before, target.address));
                (target, check, known.unwrap_or(wanted.was_ready))
            })
            .collect();
        probed.retain(|target, entry| {
            let stays = goes_on(target, entry);
            if !stays {
                commands.push(Command::Stop(entry.probe));
            }
            stays
        });
        for (target, check, ready) in starting {
            self.last_id += 1;
            let id = ProbeId(self.last_id);
            let health = Health { ready, reason: Reason::NotProbed };
            let entry = Entry { health, probe: id, check: Arc::clone(check), in_a_row: 0, succeeded: false };
            probed.insert(target.clone(), entry);
            let backend = Backend { lb: lb.clone(), target: target.clone() };
            let address = SocketAddr::new(target.address, check.port.get());
            commands.push(Command::Start { id, backend, address, check: Arc::clone(check) });
        }
        if !probed.is_empty() {
            self.probed.insert(lb.clone(), probed);
        }
    }

    /// Counts a probe's result. Whether the backend's health has changed is told; a result of a probe that has
    /// been stopped counts for nothing.
    pub fn handle_result(&mut self, backend: &Backend, id: ProbeId, result: Result<(), ProbeFailed>) -> bool {
        let entry = self.probed.get_mut(&backend.lb).and_then(|probed| probed.get_mut(&backend.target));
        let Some(entry) = entry.filter(|entry| entry.probe == id) else { return false };
        let before = entry.health.clone();
        let succeeded = result.is_ok();
        if entry.succeeded != succeeded {
            entry.in_a_row = 0;
        }
        entry.succeeded = succeeded;
        entry.in_a_row = entry.in_a_row.saturating_add(1);
        let threshold = match result {
            Ok(()) => entry.check.success_threshold,
            Err(_) => entry.check.failure_threshold,
        };
        if entry.in_a_row >= threshold.get() {
            entry.health.ready = succeeded;
        }
        entry.health.reason = result.map_or_else(Reason::Failed, |()| Reason::Succeeded);
        before != entry.health
    }

    /// How well one backend is.
    pub fn health(&self, backend: &Backend) -> Option<Health> {
        self.wanted.get(backend)?;
        Some(health(self.probed.get(&backend.lb), &backend.target))
    }

    /// Takes over into a snapshot what other wishes have changed; the results of probes are for the caller to insert.
    /// Whether anything is new is told.
    pub fn tell(&mut self, snapshot: &mut Snapshot) -> bool {
        let mut is_new = false;
        for lb in std::mem::take(&mut self.untold) {
            let (targets, probed) = (self.wanted.of(&lb), self.probed.get(&lb));
            let targets = targets.into_iter().flat_map(|targets| targets.keys());
            let health: BTreeMap<_, _> =
                targets.map(|target| (target.clone(), health(probed, target))).collect();
            let is_same = snapshot.of(&lb).map_or_else(|| health.is_empty(), |old| **old == health);
            if !is_same {
                snapshot.put(lb, health.into());
                is_new = true;
            }
        }
        is_new
    }
}

/// How well a backend is.
fn health(probed: Option<&Probed>, target: &Target) -> Health {
    let entry = probed.and_then(|probed| probed.get(target));
    entry.map_or(Health { ready: true, reason: Reason::NotChecked }, |entry| entry.health.clone())
}

fn is_ready(probed: &Probed, target: &Target) -> bool {
    probed.get(target).is_none_or(|entry| entry.health.ready)
}

/// Whether a backend that a new check looks at was ready by the check that decided before: the load
/// balancer's, or those of listeners.
fn was_ready(probed: &Probed, before: &BTreeMap<Target, Wanted>, address: IpAddr) -> Option<bool> {
    // The load balancer's is the first in order.
    let targets = before.range(Target::from(address)..).map(|(target, _)| target);
    let mut targets = targets.take_while(|other| other.address == address);
    let first = targets.next()?;
    let is_shared = first.listener.is_none();
    Some(is_ready(probed, first) || !is_shared && targets.any(|target| is_ready(probed, target)))
}

#[cfg(test)]
mod tests;
