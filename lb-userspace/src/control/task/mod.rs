//! The loop that keeps the datapath as the facts demand.
//!
//! Input: watch channels of facts, and requests for reports. Output: watch channels of wishes, commands to the
//! datapath, statuses to the registry.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::cycle::{Cycle, Facts, Questions, Wishes};
use super::registry::Registry;
use super::report::Request;
use super::reporter::{About, answer};
use super::resources::Resources;
use crate::datapath::Datapath;
use crate::datapath::nudge::model::Ended;
use crate::health::model::{Snapshot, WantedBackends};
use crate::inventory::links::{Addresses, Topology};
use crate::inventory::vms;
use crate::ipam::announce::model::Announced;
use crate::ipam::dhcp::model::{Facts as Leases, Wanted};
use crate::store::StoreError;

/// From the beginning of one turn to that of the next: changes in between are gathered. One that comes after a pause is
/// acted upon at once, and so is one of those that a turn waits for.
const SETTLE: Duration = Duration::from_millis(1);
/// How often everything is looked at again, whatever has changed.
const RESYNC: Duration = Duration::from_secs(30);
/// From one transaction of statuses to the next: while much changes, what several turns have to tell is stored at once.
const STATUS_PERIOD: Duration = Duration::from_millis(200);
/// The pause after a status could not be stored.
const STATUS_RETRY: Duration = Duration::from_secs(5);

/// What flows in.
pub struct Inputs {
    /// What users want.
    pub resources: watch::Receiver<Arc<Resources>>,
    /// Who exists.
    pub inventory: watch::Receiver<vms::Facts>,
    /// Who is well.
    pub health: watch::Receiver<Snapshot>,
    /// This node's network.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// What DHCP servers lent.
    pub leases: watch::Receiver<Leases>,
}

/// What flows out, beside commands.
pub struct Outputs {
    /// Where statuses are stored.
    pub registry: Arc<Registry>,
    /// Whom to probe.
    pub probes: watch::Sender<WantedBackends>,
    /// Which addresses to resolve.
    pub addresses: watch::Sender<Arc<Addresses>>,
    /// Which addresses to obtain by DHCP.
    pub leases: watch::Sender<Arc<Wanted>>,
    /// Whose clients to nudge. Full, it is in the middle of it; the next resync tells of the dead again.
    pub ended: mpsc::Sender<Ended>,
    /// What to announce.
    pub announced: watch::Sender<Announced>,
}

/// The control loop.
pub struct Control<D> {
    cycle: Cycle<D>,
    inputs: Inputs,
    outputs: Outputs,
    about: About,
    facts: Facts,
    /// Changes are gathered until then.
    next_turn: Instant,
    storing: Option<JoinHandle<Result<(), StoreError>>>,
    /// Statuses may be due since others were being stored, or had just been.
    held_back: bool,
    store_after: Instant,
    resync_at: Instant,
}

impl<D: Datapath> Control<D> {
    /// With everything connected.
    pub fn new(cycle: Cycle<D>, inputs: Inputs, outputs: Outputs, about: About) -> Self {
        let now = Instant::now();
        Self {
            cycle,
            inputs,
            outputs,
            about,
            facts: Facts::default(),
            next_turn: now,
            storing: None,
            held_back: false,
            store_after: now,
            resync_at: now + RESYNC,
        }
    }

    /// Takes turns until it is asked to stop, and answers requests for reports in between.
    pub async fn run(mut self, mut reports: mpsc::Receiver<Request>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        self.turn();
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(request) = reports.recv() => answer(request, &mut self.cycle, &self.facts, &self.about),
                result = stored(&mut self.storing) => self.handle_stored(result),
                () = changed(&mut self.inputs) => {
                    // A timer would wait for the next millisecond.
                    if Instant::now() < self.next_turn {
                        tokio::select! {
                            () = &mut stop => break,
                            () = sleep_until(self.next_turn) => {}
                        }
                    }
                    self.act();
                }
                () = sleep_until(due) => self.act(),
            }
        }
        self.end().await;
    }

    /// Stores what is held back. Whatever comes of it, it has been tried.
    async fn end(&mut self) {
        if let Some(storing) = self.storing.take() {
            drop(storing.await);
        }
        if self.held_back {
            self.store_after = Instant::now();
            self.store();
        }
        if let Some(storing) = self.storing.take() {
            drop(storing.await);
        }
    }

    fn due(&self) -> Instant {
        let next = self.cycle.poll_timeout().map(Instant::from_std);
        let store = (self.held_back && self.storing.is_none()).then_some(self.store_after);
        [next, store].into_iter().flatten().fold(self.resync_at, Instant::min)
    }

    /// Takes a turn, which looks at everything where that is due: also while one change follows another.
    fn act(&mut self) {
        let started = Instant::now();
        if started < self.resync_at {
            return self.turn();
        }
        self.cycle.forget();
        self.resync_at = started + RESYNC;
        self.turn();
        tracing::debug!(milliseconds = started.elapsed().as_millis(), "compared whole");
    }

    /// Does all that follows from the facts as they are.
    pub fn turn(&mut self) {
        let started = Instant::now();
        self.read_facts();
        let ask = |Questions { probes, addresses }| {
            publish(&self.outputs.probes, probes);
            publish(&self.outputs.addresses, addresses);
        };
        let Wishes { leases, ended, announced } =
            self.cycle.turn(&self.facts, started.into_std(), Timestamp::now(), ask);
        self.next_turn = if self.cycle.awaits_answers() { started } else { started + SETTLE };
        publish(&self.outputs.leases, leases);
        if let Some(announced) = announced {
            publish(&self.outputs.announced, announced);
        }
        if !ended.backends.is_empty() {
            // Whoever finds it full misses nothing that the next resync does not tell again.
            drop(self.outputs.ended.try_send(ended));
        }
        self.store();
    }

    fn read_facts(&mut self) {
        let inventory = self.inputs.inventory.borrow_and_update();
        self.about.inventory_problem = inventory.problem.clone().or_else(|| inventory.lacking.clone());
        // An inventory that never could be read knows nothing; it does not know that there is nobody.
        if inventory.problem.is_none() || self.facts.virtual_machines.is_some() {
            self.facts.virtual_machines = Some(Arc::clone(&inventory.vms));
        }
        drop(inventory);
        self.facts.resources = Arc::clone(&self.inputs.resources.borrow_and_update());
        self.facts.health.clone_from(&self.inputs.health.borrow_and_update());
        self.facts.topology = Arc::clone(&self.inputs.topology.borrow_and_update());
        let leases = self.inputs.leases.borrow_and_update();
        if self.facts.leases != *leases {
            self.facts.leases.clone_from(&leases);
        }
    }

    /// Stores statuses, one transaction at a time and no more than one in a while: the first at once; what changes then is
    /// held back for a turn after it.
    fn store(&mut self) {
        let now = Instant::now();
        self.held_back = self.storing.is_some() || now < self.store_after;
        if self.held_back {
            return;
        }
        let statuses = self.cycle.statuses(&self.facts, Timestamp::now());
        if statuses.is_empty() {
            return;
        }
        self.store_after = now + STATUS_PERIOD;
        let registry = Arc::clone(&self.outputs.registry);
        self.storing = Some(tokio::task::spawn_blocking(move || registry.write_status(statuses)));
    }

    fn handle_stored(&mut self, result: Result<(), String>) {
        self.storing = None;
        if let Err(error) = result {
            tracing::warn!("statuses are not stored: {error}; tried again in {STATUS_RETRY:?}");
            self.store_after = Instant::now() + STATUS_RETRY;
            self.resync_at = self.resync_at.min(self.store_after);
        }
    }
}

fn publish<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|last| {
        let is_new = *last != value;
        *last = value;
        is_new
    });
}

/// Waits for any fact to change.
async fn changed(inputs: &mut Inputs) {
    let Inputs { resources, inventory, health, topology, leases } = inputs;
    tokio::select! {
        Ok(()) = resources.changed() => {}
        Ok(()) = inventory.changed() => {}
        Ok(()) = health.changed() => {}
        Ok(()) = topology.changed() => {}
        Ok(()) = leases.changed() => {}
        // All senders are gone: the supervisor is about to say so.
        else => std::future::pending().await,
    }
}

async fn stored(storing: &mut Option<JoinHandle<Result<(), StoreError>>>) -> Result<(), String> {
    match storing {
        Some(handle) => match handle.await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
