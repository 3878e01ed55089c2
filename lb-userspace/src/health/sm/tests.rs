//! The cases B7 of the reference (edges only), and what switching a check does.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::model::check::{Port, ProbeMethod};

fn backend() -> Backend {
    Backend::new(NamespacedName::new("shop", "front"), [192, 0, 2, 11].into())
}

fn check(success: u32, failure: u32) -> Arc<CheckedHealthCheck> {
    Arc::new(CheckedHealthCheck {
        port: Port::new(80).unwrap(),
        success_threshold: NonZeroU32::new(success).unwrap(),
        failure_threshold: NonZeroU32::new(failure).unwrap(),
        period: Duration::from_secs(5),
        timeout: Duration::from_secs(3),
        method: ProbeMethod::Tcp,
    })
}

fn wanted(check: Option<Arc<CheckedHealthCheck>>, was_ready: bool) -> WantedBackends {
    [(backend(), Wanted { check, was_ready })].into()
}

fn id_of(commands: &[Command]) -> ProbeId {
    commands
        .iter()
        .find_map(|command| match command {
            Command::Start { id, .. } => Some(*id),
            Command::Stop(_) => None,
        })
        .unwrap()
}

/// How well everyone is.
fn snapshot(checks: &Checks) -> Snapshot {
    let of = |(backend, _): (Backend, &Wanted)| {
        let health = checks.health(&backend).unwrap();
        (backend, health)
    };
    checks.wanted.iter().map(of).collect()
}

fn is_ready(checks: &Checks) -> bool {
    snapshot(checks)[&backend()].ready
}

/// Feeds results written `S` and `F`, and tells the edges: `up@3`.
fn edges(checks: &mut Checks, id: ProbeId, results: &str) -> Vec<String> {
    let mut edges = Vec::new();
    for (index, result) in results.chars().enumerate() {
        let before = is_ready(checks);
        let result = if result == 'S' { Ok(()) } else { Err(ProbeFailed::Refused) };
        checks.handle_result(&backend(), id, result);
        match (before, is_ready(checks)) {
            (false, true) => edges.push(format!("up@{}", index + 1)),
            (true, false) => edges.push(format!("down@{}", index + 1)),
            _ => {}
        }
    }
    edges
}

#[test]
fn b7_thresholds_count_equal_results_in_a_row() {
    let cases: [(&str, u32, u32, &[&str]); 7] = [
        ("SSSS", 1, 3, &["up@1"]),
        ("FFFFFF", 1, 3, &[]),
        ("FFSFFSFFF", 1, 3, &["up@3", "down@9"]),
        ("FFFSSF", 2, 2, &["up@5"]),
        ("SFSFSF", 2, 2, &[]),
        ("SSFSFF", 2, 2, &["up@2", "down@6"]),
        ("SF", 1, 1, &["up@1", "down@2"]),
    ];
    for (results, success, failure, expected) in cases {
        let mut checks = Checks::default();
        let id = id_of(&checks.handle_wanted(&wanted(Some(check(success, failure)), false)));
        assert_eq!(edges(&mut checks, id, results), expected, "{results} {success}/{failure}");
    }
}

#[test]
fn a_backend_without_a_check_is_ready_at_once() {
    let mut checks = Checks::default();
    assert_eq!(checks.handle_wanted(&wanted(None, false)), []);
    assert_eq!(snapshot(&checks)[&backend()], Health { ready: true, reason: Reason::NotChecked });
}

#[test]
fn c15_a_check_that_is_switched_on_keeps_a_backend_ready_until_it_has_failed() {
    let mut checks = Checks::default();
    checks.handle_wanted(&wanted(None, false));
    let id = id_of(&checks.handle_wanted(&wanted(Some(check(1, 3)), false)));
    assert!(is_ready(&checks));
    assert_eq!(edges(&mut checks, id, "FFF"), ["down@3"]);
}

#[test]
fn c15_a_check_that_is_switched_off_makes_a_backend_ready() {
    let mut checks = Checks::default();
    let id = id_of(&checks.handle_wanted(&wanted(Some(check(1, 3)), false)));
    assert!(!is_ready(&checks));
    assert_eq!(checks.handle_wanted(&wanted(None, false)), [Command::Stop(id)]);
    assert!(is_ready(&checks));
}

#[test]
fn a_changed_option_counts_anew_and_keeps_the_state() {
    let mut checks = Checks::default();
    let first = id_of(&checks.handle_wanted(&wanted(Some(check(1, 3)), false)));
    assert_eq!(edges(&mut checks, first, "SFF"), ["up@1"]);
    let commands = checks.handle_wanted(&wanted(Some(check(2, 2)), false));
    let second = id_of(&commands);
    assert_eq!(commands[0], Command::Stop(first));
    assert!(is_ready(&checks));
    assert_eq!(edges(&mut checks, first, "FFFF"), [] as [&str; 0], "a stopped probe counts for nothing");
    assert_eq!(edges(&mut checks, second, "FF"), ["down@2"]);
    assert_eq!(checks.handle_wanted(&wanted(Some(check(2, 2)), true)), [], "nothing has changed");
}

#[test]
fn a_backend_that_was_ready_before_a_restart_stays_so_until_it_has_failed() {
    let mut checks = Checks::default();
    let id = id_of(&checks.handle_wanted(&wanted(Some(check(1, 3)), true)));
    assert_eq!(snapshot(&checks)[&backend()], Health { ready: true, reason: Reason::NotProbed });
    assert_eq!(edges(&mut checks, id, "FFF"), ["down@3"]);
}

#[test]
fn a_backend_that_goes_is_forgotten() {
    let mut checks = Checks::default();
    let id = id_of(&checks.handle_wanted(&wanted(Some(check(1, 3)), false)));
    assert_eq!(checks.handle_wanted(&WantedBackends::new()), [Command::Stop(id)]);
    assert!(snapshot(&checks).is_empty());
    assert!(!checks.handle_result(&backend(), id, Ok(())));
}

/// What the listener's own check looks at.
fn own(listener: &str) -> Backend {
    let target = Target { listener: Some(listener.into()), ..backend().target };
    Backend { target, ..backend() }
}

fn wanted_by(checks: &[(Backend, Option<Arc<CheckedHealthCheck>>)]) -> WantedBackends {
    let one = |(backend, check): &(Backend, Option<Arc<CheckedHealthCheck>>)| {
        (backend.clone(), Wanted { check: check.clone(), was_ready: false })
    };
    checks.iter().map(one).collect()
}

#[test]
fn a_listener_that_gets_a_check_of_its_own_keeps_the_state() {
    for (results, is_ready) in [("S", true), ("FFF", false)] {
        let mut checks = Checks::default();
        let shared = (backend(), Some(check(1, 3)));
        let id = id_of(&checks.handle_wanted(&wanted_by(std::slice::from_ref(&shared))));
        edges(&mut checks, id, results);
        let web = (own("web"), Some(check(1, 3)));
        assert_eq!(checks.handle_wanted(&wanted_by(&[shared, web])).len(), 1, "the other goes on");
        assert_eq!(snapshot(&checks)[&own("web")].ready, is_ready);
    }
}

#[test]
fn a_listener_that_returns_to_the_shared_check_keeps_the_state() {
    for (web, dns, is_ready) in [
        (Ok(()), Err(ProbeFailed::Refused), true),
        (Err(ProbeFailed::Refused), Err(ProbeFailed::Refused), false),
    ] {
        let mut checks = Checks::default();
        let both = [(own("dns"), Some(check(1, 1))), (own("web"), Some(check(1, 1)))];
        let started = checks.handle_wanted(&wanted_by(&both));
        for command in started {
            let Command::Start { id, backend, .. } = command else { panic!("stopped") };
            let result = if backend == own("web") { web.clone() } else { dns.clone() };
            checks.handle_result(&backend, id, result);
        }
        checks.handle_wanted(&wanted_by(&[(backend(), Some(check(1, 3)))]));
        assert_eq!(snapshot(&checks)[&backend()], Health { ready: is_ready, reason: Reason::NotProbed });
    }
}

#[test]
fn listeners_of_one_server_are_ready_one_by_one() {
    let mut checks = Checks::default();
    let both = [(own("dns"), Some(check(1, 1))), (own("web"), None)];
    let id = id_of(&checks.handle_wanted(&wanted_by(&both)));
    checks.handle_result(&own("dns"), id, Err(ProbeFailed::PortUnreachable));
    let snapshot = snapshot(&checks);
    assert_eq!(snapshot[&own("web")], Health { ready: true, reason: Reason::NotChecked });
    let failed = Reason::Failed(ProbeFailed::PortUnreachable);
    assert_eq!(snapshot[&own("dns")], Health { ready: false, reason: failed });
}

#[test]
fn wishes_are_told_once_and_of_the_load_balancers_that_they_change() {
    let mut checks = Checks::default();
    let other = || Backend::new(NamespacedName::new("shop", "back"), [192, 0, 2, 12].into());
    let mut all = wanted(None, false);
    all.insert(other(), Wanted { check: None, was_ready: false });
    checks.handle_wanted(&all);
    let mut told = Snapshot::new();
    assert!(checks.tell(&mut told));
    assert_eq!(told, snapshot(&checks));
    let before = told.clone();
    all.put(other().lb, OfBalancer::default());
    checks.handle_wanted(&all);
    assert!(checks.tell(&mut told) && !told.contains_key(&other()));
    assert!(
        Arc::ptr_eq(told.of(&backend().lb).unwrap(), before.of(&backend().lb).unwrap()),
        "it stays shared"
    );
    checks.handle_wanted(&all);
    assert!(!checks.tell(&mut told), "nothing has changed");
    assert_eq!(told, snapshot(&checks));
}
