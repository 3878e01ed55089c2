//! Timing on a paused clock, connections to real listeners.

use std::net::IpAddr;
use std::num::NonZeroU32;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::health::model::{Reason, Wanted};
use crate::model::check::{Port, ProbeMethod};
use crate::model::meta::NamespacedName;

const DEADLINE: Duration = Duration::from_secs(10);
/// More probes than a test has under way.
const PLACES: usize = 1000;
/// The resolution of timers.
const TIMER: Duration = Duration::from_millis(2);

fn check(port: u16, period: Duration) -> CheckedHealthCheck {
    CheckedHealthCheck {
        method: ProbeMethod::Tcp,
        port: Port::new(i64::from(port)).unwrap(),
        success_threshold: NonZeroU32::new(1).unwrap(),
        failure_threshold: NonZeroU32::new(3).unwrap(),
        period,
        timeout: period,
    }
}

fn backend(address: [u8; 4]) -> Backend {
    Backend::new(NamespacedName::new("shop", "front"), address.into())
}

fn wanted(backends: &[(Backend, CheckedHealthCheck)]) -> WantedBackends {
    let one = |(backend, check): &(Backend, CheckedHealthCheck)| {
        (backend.clone(), Wanted { check: Some(Arc::new(check.clone())), was_ready: false })
    };
    backends.iter().map(one).collect()
}

async fn until(states: &mut watch::Receiver<Snapshot>, condition: impl FnMut(&Snapshot) -> bool) {
    timeout(DEADLINE, states.wait_for(condition)).await.expect("in time").expect("prober runs");
}

#[tokio::test(start_paused = true)]
async fn the_first_probe_is_sent_at_once_and_the_next_after_a_period() {
    let (_keep, targets) =
        watch::channel(wanted(&[(backend([192, 0, 2, 1]), check(80, Duration::from_secs(5)))]));
    let (states, _) = watch::channel(Snapshot::new());
    let (times, mut probes) = mpsc::unbounded_channel();
    let start = Instant::now();
    let probe = move |_, _| {
        times.send(start.elapsed()).unwrap();
        async { Ok(()) }
    };
    let task = tokio::spawn(run_with(targets, states, Lanes::new(PLACES), probe));
    let first = probes.recv().await.unwrap();
    assert!(first <= MAX_JITTER + TIMER, "{first:?}");
    let second = probes.recv().await.unwrap();
    let between = second.checked_sub(first).unwrap();
    assert!(between.abs_diff(Duration::from_secs(5)) <= TIMER, "{between:?}");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_answer_delays_no_other() {
    let (silent, quick) = (backend([192, 0, 2, 1]), backend([192, 0, 2, 2]));
    let check = check(80, Duration::from_secs(5));
    let (_keep, targets) = watch::channel(wanted(&[(silent.clone(), check.clone()), (quick.clone(), check)]));
    let (states, mut seen) = watch::channel(Snapshot::new());
    let start = Instant::now();
    let probe = |address: SocketAddr, check: Arc<CheckedHealthCheck>| async move {
        if address.ip() == IpAddr::from([192, 0, 2, 1]) {
            tokio::time::sleep(check.timeout).await;
            return Err(ProbeFailed::TimedOut(check.timeout));
        }
        Ok(())
    };
    let task = tokio::spawn(run_with(targets, states, Lanes::new(PLACES), probe));
    until(&mut seen, |states| states.get(&quick).is_some_and(|health| health.ready)).await;
    assert!(start.elapsed() <= MAX_JITTER + TIMER);
    until(&mut seen, |states| {
        states[&silent].reason == Reason::Failed(ProbeFailed::TimedOut(Duration::from_secs(5)))
    })
    .await;
    assert!(!seen.borrow()[&silent].ready);
    task.abort();
}

#[tokio::test]
async fn a_server_that_stops_and_starts_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = backend([127, 0, 0, 1]);
    // Short periods for a short test; a busy machine must not look like a server that is gone.
    let check = CheckedHealthCheck { timeout: DEADLINE, ..check(address.port(), Duration::from_millis(20)) };
    let (keep, targets) = watch::channel(wanted(&[(target.clone(), check)]));
    let (states, mut seen) = watch::channel(Snapshot::new());
    let task = tokio::spawn(run(targets, states));
    until(&mut seen, |states| states.get(&target).is_some_and(|health| health.ready)).await;
    drop(listener);
    until(&mut seen, |states| !states[&target].ready).await;
    assert_eq!(seen.borrow()[&target].reason, Reason::Failed(ProbeFailed::Refused));
    let _listener = TcpListener::bind(address).await.unwrap();
    until(&mut seen, |states| states[&target].ready).await;
    drop(keep);
    timeout(DEADLINE, task).await.unwrap().unwrap();
}

#[test]
fn jitter_is_spread_and_bounded() {
    let period = Duration::from_secs(5);
    let waits: Vec<Duration> = (0..100).map(|host| jitter(&backend([192, 0, 2, host]), period)).collect();
    assert!(waits.iter().all(|wait| *wait <= MAX_JITTER));
    let early = waits.iter().filter(|wait| **wait < MAX_JITTER / 2).count();
    assert!((20..=80).contains(&early), "{early} of 100 in the first half");
    assert!(jitter(&backend([192, 0, 2, 1]), Duration::from_millis(10)) <= Duration::from_millis(1));
}
