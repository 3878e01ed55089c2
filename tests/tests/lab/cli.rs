//! The command line as people use it: at a terminal, and with an editor.

use lb_tests::lab::process::Process;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, terminal, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fixture::SOON;

#[test]
fn at_a_terminal_what_is_missing_is_asked_for_and_otherwise_it_is_an_error() {
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();

    let create = ["create", "--namespace", SHOP];
    let answers = "front\nno port\nweb:80:8080\n\napp=web\n\nlab\n\nyes\n";
    let (is_done, shown) = terminal::run(&mut lab.installation.command(&create), answers).unwrap();
    assert!(is_done && shown.contains("  \"no port\""), "{shown}");
    assert!(
        shown.contains("As arguments: front --listener web:80:8080 --selector app=web --pool lab\n"),
        "{shown}"
    );
    assert!(shown.contains("LoadBalancer shop/front created: "), "{shown}");
    let object = lab.installation.json(&["get", "front", "--namespace", SHOP]).unwrap();
    assert_eq!(object["spec"]["listeners"][0]["backendPort"], 8080);

    let (is_done, shown) =
        terminal::run(&mut lab.installation.command(&create), "other\n80\n\n\n\n\nno\n").unwrap();
    assert!(!is_done && shown.contains("error: nothing is created"), "{shown}");

    let refused = lab.installation.run(&create).unwrap();
    assert_eq!(refused.status.code(), Some(2), "wrong usage");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--listener <SPEC>"), "{refused:?}");

    let mut edit = lab.installation.command(&["edit", "lb", "front", "--namespace", SHOP]);
    let (is_done, shown) =
        terminal::run(edit.env_remove("VISUAL").env("EDITOR", "sed -i 's/port: 80$/port: 81/'"), "").unwrap();
    assert!(is_done && shown.contains("LoadBalancer shop/front configured"), "{shown}");

    let manifest = lab.directory("manifests").unwrap().join("front.yaml");
    std::fs::write(&manifest, lab.installation.lb(&["export", "--namespace", SHOP]).unwrap()).unwrap();
    let diff = |text: &str, code: i32| {
        std::fs::write(&manifest, text).unwrap();
        let output = lab.installation.run(&["diff", "-f", &manifest.to_string_lossy()]).unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    };
    let exported = std::fs::read_to_string(&manifest).unwrap();
    diff(&exported, 0);
    diff(&exported.replace("port: 81", "port: 82"), 1);
    diff(&exported.replace("port: 81", "port: 0"), 2);
}

/// Starts `lb ARGUMENTS`, which goes on.
fn following(lab: &Lab, name: &str, arguments: &[&str]) -> Process {
    let log = lab.directory("watches").unwrap().join(name);
    Process::start(&mut lab.installation.command(arguments), log).unwrap()
}

fn until_shown(process: &Process, what: &str, mut check: impl FnMut(&str) -> bool) {
    wait::until(what, SOON, || check(&process.log()))
        .unwrap_or_else(|error| panic!("{error}: {}", process.log()));
}

#[test]
fn a_watch_shows_each_change_and_outlives_the_agent() {
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap();
    let agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let create = |name: &str| {
        let listener = ["--listener", "web:80:8080", "--selector", "app=none"];
        lab.installation.lb(&[&["create", name, "--namespace", SHOP], &listener[..]].concat()).unwrap();
    };
    create("other");
    let mut balancers = following(&lab, "balancers", &["get", "-w", "-n", SHOP]);
    until_shown(&balancers, "the table begins", |log| log.contains("other"));
    create("front");
    let one = following(&lab, "one", &["get", "front", "-w", "-n", SHOP]);
    let pools = following(&lab, "pools", &["pool", "get", "--watch", "--output", "json"]);
    let is_row = |line: &str, words: &[&str]| {
        let row: Vec<&str> = line.split_whitespace().collect();
        row.get(1) == words.first() && words.iter().all(|word| row.contains(word))
    };
    for watch in [&balancers, &one] {
        until_shown(watch, "it is there", |log| log.lines().any(|line| is_row(line, &["front", "False"])));
    }
    agent.kill().unwrap();
    for watch in [&balancers, &one, &pools] {
        until_shown(watch, "the agent is missed", |log| log.contains("the agent is gone; waiting for it"));
    }
    let _agent = lab.start_agent().unwrap();
    lab.installation.lb(&["delete", "front", "-n", SHOP]).unwrap();
    for watch in [&balancers, &one] {
        until_shown(watch, "it is gone", |log| log.lines().any(|line| is_row(line, &["front", "deleted"])));
    }
    let told = balancers.log();
    assert_eq!(told.lines().filter(|line| line.contains("NAMESPACE")).count(), 1, "{told}");
    assert!(!one.log().contains("other"), "{}", one.log());
    // Two have addresses, then one.
    let available = |log: &str| -> Vec<i64> {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let rows = lines.filter(|line| line["object"]["kind"] == "IPPool" && line["type"] != "DELETED");
        rows.filter_map(|line| line["object"]["status"]["available"].as_i64()).collect()
    };
    until_shown(&pools, "an address is free again", |log| {
        let counts = available(log);
        counts.last() == counts.first().map(|first| first + 1).as_ref()
    });
    balancers.signal(Signal::SIGINT).unwrap();
    balancers.ended(SOON).unwrap();
    assert_eq!(balancers.log().lines().filter(|line| line.contains("error")).count(), 0);

    let missing = lab.installation.run(&["get", "front", "-w", "-n", SHOP]).unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("front"), "{missing:?}");
}
