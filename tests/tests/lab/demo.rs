//! The demonstration, as a person runs it.

use std::process::Command;
use std::time::Duration;

use lb_tests::lab::namespace::with_prefix;
use lb_tests::lab::process::Process;
use lb_tests::lab::registry::LabId;
use lb_tests::lab::wait;
use nix::sys::signal::Signal;

/// How long the demonstration may take.
const LONG: Duration = Duration::from_secs(120);

fn demo(name: &str) -> Process {
    let log = std::env::temp_dir().join(format!("lb-demo-{}-{name}.log", std::process::id()));
    drop(std::fs::remove_file(&log));
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    Process::start(command.arg("demo"), log).unwrap()
}

/// Labs are named after the process that made them.
fn labs_of(demo: &Process) -> Vec<LabId> {
    let prefix = format!("{:x}-", demo.id());
    LabId::all().unwrap().into_iter().filter(|id| id.to_string().starts_with(&prefix)).collect()
}

#[test]
fn the_demonstration_holds_and_leaves_nothing() {
    let mut demo = demo("whole");
    wait::until("it has a lab", LONG, || !labs_of(&demo).is_empty()).unwrap();
    let id = labs_of(&demo).remove(0);
    let status = demo.ended(LONG).unwrap();
    assert!(status.success(), "{status}:\n{}", demo.log());
    assert!(demo.log().contains("all of it held"), "{}", demo.log());
    assert_gone(&id);
}

#[test]
fn an_interrupted_demonstration_leaves_nothing() {
    let mut demo = demo("interrupted");
    // In the middle of its work: servers run, the agent is about to.
    wait::until("it runs servers", LONG, || demo.log().contains("nginx")).unwrap();
    let id = labs_of(&demo).remove(0);
    demo.signal(Signal::SIGINT).unwrap();
    let status = demo.ended(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(130), "{}", demo.log());
    assert_gone(&id);
}

fn assert_gone(id: &LabId) {
    assert!(with_prefix(&id.prefix()).unwrap().is_empty());
    for path in [id.directory(), id.pins(), id.peer_pins()] {
        assert!(!path.exists(), "{} is left", path.display());
    }
}
