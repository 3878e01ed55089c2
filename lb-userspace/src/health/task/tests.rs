//! Timing on a paused clock, connections to real listeners.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::pace::MAX_JITTER;
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

/// Ten places for a hundred servers, most of which hang: those that answer are asked in every period.
#[tokio::test(start_paused = true)]
async fn servers_that_hang_leave_places_for_those_that_answer() {
    const SERVERS: u8 = 100;
    let period = Duration::from_secs(5);
    let hangs = |address: &SocketAddr| !address.ip().to_string().ends_with('7');
    let check = CheckedHealthCheck { timeout: Duration::from_secs(3), ..check(80, period) };
    let all: Vec<_> = (0..SERVERS).map(|host| (backend([192, 0, 2, host]), check.clone())).collect();
    let (_keep, targets) = watch::channel(wanted(&all));
    let (states, _) = watch::channel(Snapshot::new());
    let (answers, mut answered) = mpsc::unbounded_channel();
    let under_way = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let probe = move |address: SocketAddr, check: Arc<CheckedHealthCheck>| {
        let (answers, under_way) = (answers.clone(), Arc::clone(&under_way));
        async move {
            let before = under_way.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(before < 10, "more than there are places for");
            let result = if hangs(&address) {
                tokio::time::sleep(check.timeout).await;
                Err(ProbeFailed::TimedOut(check.timeout))
            } else {
                answers.send((address, Instant::now())).unwrap();
                Ok(())
            };
            under_way.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            result
        }
    };
    let task = tokio::spawn(run_with(targets, states, Lanes::new(10), probe));
    // Until it is known who hangs, all wait alike.
    tokio::time::sleep(Duration::from_mins(1)).await;
    while answered.try_recv().is_ok() {}
    tokio::time::sleep(period * 20).await;
    let mut times = BTreeMap::<SocketAddr, Vec<Instant>>::new();
    while let Ok((address, at)) = answered.try_recv() {
        times.entry(address).or_default().push(at);
    }
    assert_eq!(times.len(), 10);
    for (address, times) in times {
        assert!(times.len() >= 19, "{address}: {} probes in 20 periods", times.len());
    }
    task.abort();
}

/// What has been found is published in the same moment, not with the next period.
#[tokio::test(start_paused = true)]
async fn a_threshold_that_is_reached_is_told_at_once() {
    let period = Duration::from_secs(5);
    let target = backend([192, 0, 2, 1]);
    let (_keep, targets) = watch::channel(wanted(&[(target.clone(), check(80, period))]));
    let (states, mut seen) = watch::channel(Snapshot::new());
    let start = Instant::now();
    let dies_at = start + Duration::from_secs(12);
    let probe =
        move |_, _| async move { if Instant::now() < dies_at { Ok(()) } else { Err(ProbeFailed::Refused) } };
    let task = tokio::spawn(run_with(targets, states, Lanes::new(PLACES), probe));
    until(&mut seen, |states| states.get(&target).is_some_and(|health| health.ready)).await;
    assert!(start.elapsed() <= MAX_JITTER + TIMER);
    timeout(period * 10, seen.wait_for(|states| !states[&target].ready)).await.unwrap().unwrap();
    // Probes at 0, 5, 10 succeed; those at 15, 20 and 25 fail.
    let noticed = start.elapsed();
    assert!((period * 5..=period * 5 + MAX_JITTER + TIMER).contains(&noticed), "{noticed:?}");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_changed_check_of_one_backend_leaves_the_others_rhythm_alone() {
    let period = Duration::from_secs(5);
    let [one, other] = [backend([192, 0, 2, 1]), backend([192, 0, 2, 2])];
    let (change, targets) =
        watch::channel(wanted(&[(one.clone(), check(80, period)), (other.clone(), check(80, period))]));
    let (states, _) = watch::channel(Snapshot::new());
    let (sent, mut probes) = mpsc::unbounded_channel();
    let start = Instant::now();
    let probe = move |address: SocketAddr, _| {
        sent.send((address, start.elapsed())).unwrap();
        async { Ok(()) }
    };
    let task = tokio::spawn(run_with(targets, states, Lanes::new(PLACES), probe));
    tokio::time::sleep(Duration::from_secs(7)).await;
    change.send_replace(wanted(&[(one, check(81, period)), (other, check(80, period))]));
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut of_other = Vec::new();
    let mut of_one = Vec::new();
    while let Ok((address, at)) = probes.try_recv() {
        let all = if address.ip() == IpAddr::from([192, 0, 2, 2]) { &mut of_other } else { &mut of_one };
        all.push((address.port(), at.as_secs()));
    }
    assert_eq!(of_other, [(80, 0), (80, 5), (80, 10)]);
    assert_eq!(of_one, [(80, 0), (80, 5), (81, 7), (81, 12)], "the new check probes at once");
    task.abort();
}

/// The times that the documentation promises: down after three failed probes, up after one that succeeds.
#[tokio::test(start_paused = true)]
async fn c16_a_service_that_dies_is_out_after_three_periods_and_back_after_one() {
    let seconds = Duration::from_secs;
    let target = backend([192, 0, 2, 1]);
    let check = CheckedHealthCheck { timeout: seconds(3), ..check(80, seconds(5)) };
    let (_keep, targets) = watch::channel(wanted(&[(target.clone(), check)]));
    let (states, mut seen) = watch::channel(Snapshot::new());
    let start = Instant::now();
    let (dies_at, returns_at) = (start + seconds(12), start + seconds(61));
    let probe = move |_, check: Arc<CheckedHealthCheck>| async move {
        if (dies_at..returns_at).contains(&Instant::now()) {
            tokio::time::sleep(check.timeout).await;
            return Err(ProbeFailed::TimedOut(check.timeout));
        }
        Ok(())
    };
    let task = tokio::spawn(run_with(targets, states, Lanes::new(PLACES), probe));
    until(&mut seen, |states| states.get(&target).is_some_and(|health| health.ready)).await;
    timeout(seconds(60), seen.wait_for(|states| !states[&target].ready)).await.unwrap().unwrap();
    let out = dies_at.elapsed();
    assert!((seconds(10)..=seconds(18) + MAX_JITTER + TIMER).contains(&out), "{out:?}");
    timeout(seconds(60), seen.wait_for(|states| states[&target].ready)).await.unwrap().unwrap();
    let back = returns_at.elapsed();
    assert!(back <= seconds(10), "{back:?}");
    task.abort();
}
