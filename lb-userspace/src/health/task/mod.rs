//! The loops that probe: one per backend, none waits for another.

mod lanes;
mod pace;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::failure::ProbeFailed;
use super::model::{Backend, Health, Snapshot, Target, WantedBackends};
use super::probe::Prober;
use super::sm::{Checks, Command, ProbeId};
use crate::model::check::CheckedHealthCheck;
use lanes::Lanes;
use pace::Pace;

/// Results under way. A full channel delays the loops that report, and so slows probing down instead of piling
/// results up.
const RESULTS: usize = 256;

/// Probes until nobody wants it any more (the sender of `wanted` is gone).
pub async fn run(wanted: watch::Receiver<WantedBackends>, states: watch::Sender<Snapshot>) {
    let prober = Prober::default();
    let probe = move |address, check: Arc<CheckedHealthCheck>| {
        let prober = prober.clone();
        async move { prober.probe(address, &check).await }
    };
    run_with(wanted, states, Lanes::of_process(), probe).await;
}

type ProbeResult = (Backend, ProbeId, Result<(), ProbeFailed>);

async fn run_with<P, F>(
    mut wanted: watch::Receiver<WantedBackends>,
    states: watch::Sender<Snapshot>,
    lanes: Lanes,
    probe: P,
) where
    P: Fn(SocketAddr, Arc<CheckedHealthCheck>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), ProbeFailed>> + Send + 'static,
{
    let mut checks = Checks::default();
    let pace = Pace::new(Instant::now());
    let mut loops = Loops { tasks: JoinSet::new(), handles: BTreeMap::new(), lanes, pace };
    let (sender, mut results) = mpsc::channel(RESULTS);
    wanted.mark_changed();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let commands = checks.handle_wanted(&wanted.borrow_and_update());
                loops.execute(commands, &probe, &sender);
                states.send_if_modified(|states| checks.tell(states));
            }
            Some((backend, id, result)) = results.recv() => {
                if checks.handle_result(&backend, id, result) && let Some(health) = checks.health(&backend) {
                    report(&backend, &health, &states);
                    states.send_modify(|states| states.insert(backend, health));
                }
            }
            // Aborted loops are collected as they end.
            Some(_) = loops.tasks.join_next() => {}
        }
    }
}

/// The running loops. Dropping it ends them all.
struct Loops {
    tasks: JoinSet<()>,
    handles: BTreeMap<ProbeId, AbortHandle>,
    lanes: Lanes,
    pace: Pace,
}

impl Loops {
    fn execute<P, F>(&mut self, commands: Vec<Command>, probe: &P, results: &mpsc::Sender<ProbeResult>)
    where
        P: Fn(SocketAddr, Arc<CheckedHealthCheck>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<(), ProbeFailed>> + Send + 'static,
    {
        let now = Instant::now();
        for command in commands {
            match command {
                Command::Stop(id) => {
                    if let Some(handle) = self.handles.remove(&id) {
                        handle.abort();
                    }
                }
                Command::Start { id, backend, address, check } => {
                    let first = now + self.pace.wait(&backend, check.period, now);
                    let subject = Subject { id, backend, address, check, first };
                    let task = probe_loop(subject, self.lanes.clone(), probe.clone(), results.clone());
                    self.handles.insert(id, self.tasks.spawn(task));
                }
            }
        }
    }
}

struct Subject {
    id: ProbeId,
    backend: Backend,
    address: SocketAddr,
    check: Arc<CheckedHealthCheck>,
    /// When it is probed for the first time.
    first: Instant,
}

async fn probe_loop<P, F>(subject: Subject, lanes: Lanes, probe: P, results: mpsc::Sender<ProbeResult>)
where
    P: Fn(SocketAddr, Arc<CheckedHealthCheck>) -> F + Send,
    F: Future<Output = Result<(), ProbeFailed>> + Send + 'static,
{
    let Subject { id, backend, address, check, first } = subject;
    let mut ticks = interval_at(first, check.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut is_slow = false;
    loop {
        ticks.tick().await;
        let place = lanes.place(is_slow).await;
        // Time spent on waiting for a place is not the server's.
        let started = Instant::now();
        // Boxed: most of the time, thousands of loops wait for their next probe, and need no room for one.
        let result = Box::pin(probe(address, Arc::clone(&check))).await;
        is_slow = started.elapsed() >= check.timeout / 2;
        drop(place);
        if results.send((backend.clone(), id, result)).await.is_err() {
            return;
        }
    }
}

fn report(backend: &Backend, health: &Health, states: &watch::Sender<Snapshot>) {
    let before = states.borrow().get(backend).map(|health| health.ready);
    if before != Some(health.ready) {
        let (lb, state) = (&backend.lb, if health.ready { "ready" } else { "not ready" });
        let Target { address, listener } = &backend.target;
        let (reason, message) = (health.reason.name(), health.reason.message());
        match listener {
            None => tracing::info!(%lb, %address, reason, message, "backend is {state}"),
            Some(listener) => tracing::info!(%lb, %address, %listener, reason, message, "backend is {state}"),
        }
    }
}

#[cfg(test)]
mod tests;
