//! The prober: one loop per backend, none waits for another.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::model::{Backend, Health, ProbeFailed, Snapshot, WantedBackends};
use super::sm::{Checks, Command, ProbeId};
use crate::model::check::CheckedHealthCheck;

/// Results under way. A full channel delays the loops that report, and so slows probing down instead of piling
/// results up.
const RESULTS: usize = 256;
/// First probes are spread over this part of the period, and no longer than [`MAX_JITTER`].
const JITTER_PART: u32 = 10;
/// First probes are sent within this time.
const MAX_JITTER: Duration = Duration::from_millis(250);

/// Probes with TCP connections until nobody wants it any more (the sender of `wanted` is gone).
pub async fn run(wanted: watch::Receiver<WantedBackends>, states: watch::Sender<Snapshot>) {
    run_with(wanted, states, connect).await;
}

type ProbeResult = (Backend, ProbeId, Result<(), ProbeFailed>);

async fn run_with<P, F>(
    mut wanted: watch::Receiver<WantedBackends>,
    states: watch::Sender<Snapshot>,
    probe: P,
) where
    P: Fn(SocketAddr, Duration) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), ProbeFailed>> + Send + 'static,
{
    let mut checks = Checks::default();
    let mut loops = Loops { tasks: JoinSet::new(), handles: BTreeMap::new() };
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
                states.send_if_modified(|states| states.become_like(checks.snapshot()));
            }
            Some((backend, id, result)) = results.recv() => {
                if checks.handle_result(&backend, id, result) && let Some(health) = checks.health(&backend) {
                    report(&backend, health, &states);
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
}

impl Loops {
    fn execute<P, F>(&mut self, commands: Vec<Command>, probe: &P, results: &mpsc::Sender<ProbeResult>)
    where
        P: Fn(SocketAddr, Duration) -> F + Clone + Send + 'static,
        F: Future<Output = Result<(), ProbeFailed>> + Send + 'static,
    {
        for command in commands {
            match command {
                Command::Stop(id) => {
                    if let Some(handle) = self.handles.remove(&id) {
                        handle.abort();
                    }
                }
                Command::Start { id, backend, address, check } => {
                    let task = probe_loop(id, backend, address, check, probe.clone(), results.clone());
                    self.handles.insert(id, self.tasks.spawn(task));
                }
            }
        }
    }
}

async fn probe_loop<P, F>(
    id: ProbeId,
    backend: Backend,
    address: SocketAddr,
    check: CheckedHealthCheck,
    probe: P,
    results: mpsc::Sender<ProbeResult>,
) where
    P: Fn(SocketAddr, Duration) -> F + Send,
    F: Future<Output = Result<(), ProbeFailed>> + Send + 'static,
{
    let mut ticks = interval_at(Instant::now() + jitter(&backend, check.period), check.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let result = probe(address, check.timeout).await;
        if results.send((backend.clone(), id, result)).await.is_err() {
            return;
        }
    }
}

/// Connects and resets: the server's queue and the node's ports are free again at once.
async fn connect(address: SocketAddr, within: Duration) -> Result<(), ProbeFailed> {
    match timeout(within, open(address)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(explain(error.kind())),
        Err(_) => Err(ProbeFailed::TimedOut),
    }
}

fn explain(kind: io::ErrorKind) -> ProbeFailed {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut};
    if matches!(kind, ConnectionRefused | ConnectionReset) {
        ProbeFailed::Refused
    } else if matches!(kind, HostUnreachable | NetworkUnreachable) {
        ProbeFailed::Unreachable
    } else if kind == TimedOut {
        ProbeFailed::TimedOut
    } else {
        ProbeFailed::System(kind)
    }
}

async fn open(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_zero_linger()?;
    drop(socket.connect(address).await?);
    Ok(())
}

/// Spreads first probes; the same backend always waits as long.
fn jitter(backend: &Backend, period: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    backend.hash(&mut hasher);
    let part = f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    (period / JITTER_PART).min(MAX_JITTER).mul_f64(part)
}

fn report(backend: &Backend, health: Health, states: &watch::Sender<Snapshot>) {
    let before = states.borrow().get(backend).map(|health| health.ready);
    if before != Some(health.ready) {
        let (lb, state) = (&backend.lb, if health.ready { "ready" } else { "not ready" });
        tracing::info!(%lb, address = %backend.address, reason = health.reason.name(), "backend is {state}");
    }
}

#[cfg(test)]
mod tests;
