//! Wrong inputs: one clear error that names the place, a failing exit, and nothing changed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lb_tests::lab::process::Process;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec};

fn lab() -> Lab {
    Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap()
}

/// Runs `lb ARGUMENTS`, which must fail with an error that has all `words`, and change no object.
fn refused(lab: &Lab, arguments: &[&str], words: &[&str]) {
    let objects = || {
        let list = |arguments| lab.installation.lb(arguments).unwrap();
        [list(&["get", "-A", "-o", "json"]), list(&["pool", "get", "-o", "json"])]
    };
    let before = objects();
    let output = lab.installation.run(arguments).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "lb {} was accepted", arguments.join(" "));
    assert_eq!(output.stdout, b"", "lb {}", arguments.join(" "));
    for word in words {
        assert!(error.contains(word), "lb {}: no {word:?} in the error:\n{error}", arguments.join(" "));
    }
    assert_eq!(before, objects(), "lb {}", arguments.join(" "));
}

#[test]
fn wrong_objects_are_refused_by_field_and_change_nothing() {
    let lab = lab();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    lab.create_lb("front", &["--listener", "web:80:8080/tcp"]).unwrap();
    let create =
        |more: &[&'static str]| [&["create", "wrong", "-n", "shop", "--selector", "app=web"], more].concat();
    refused(&lab, &create(&["--listener", "web:0:8080/tcp"]), &["spec.listeners[0].port", "0"]);
    refused(&lab, &create(&["--listener", "web:70000:8080/tcp"]), &["spec.listeners[0].port", "70000"]);
    refused(&lab, &create(&["--listener", "a:80", "--listener", "b:80"]), &["spec.listeners[1]", "80"]);
    refused(&lab, &create(&["--listener", "80", "--pool", "absent"]), &["spec.ipPool", "absent"]);
    refused(
        &lab,
        &["create", "wrong", "-n", "shop", "--listener", "80", "--selector=-app=web"],
        &["spec.backendServerSelector", "-app"],
    );
    refused(
        &lab,
        &["pool", "create", "other", "--range", "192.0.2.0/24,start=192.0.2.210,end=192.0.2.230"],
        &["spec.ranges[0]", "lab"],
    );
    refused(
        &lab,
        &["pool", "create", "other", "--range", "192.0.2.0/33"],
        &["spec.ranges[0].subnet", "192.0.2.0/33"],
    );
    let manifest = lab.directory("files").unwrap().join("wrong.yaml");
    let text = "apiVersion: loadbalancer.harvesterhci.io/v1beta1\nkind: LoadBalancer\n\
                metadata: {namespace: shop, name: wrong}\nspec:\n  listenerz: []\n";
    fs::write(&manifest, text).unwrap();
    refused(&lab, &["apply", "-f", &manifest.to_string_lossy()], &["listenerz"]);
    refused(&lab, &["describe", "absent", "-n", "shop"], &["absent"]);
}

/// Starts an agent with `text` as its configuration; it must end by itself with an error that has all `words`.
fn agent_refuses(lab: &Lab, text: &str, words: &[&str]) {
    let config = lab.directory("files").unwrap().join("wrong-agent.yaml");
    fs::write(&config, text).unwrap();
    let log = lab.directory("files").unwrap().join("wrong-agent.log");
    drop(fs::remove_file(&log));
    let mut command = lab.installation.command(&["agent", "--config", &config.to_string_lossy()]);
    let mut agent = Process::start(command.env("RUST_BACKTRACE", "0"), log).unwrap();
    let ended = agent.ended(Duration::from_secs(20));
    let error = agent.log();
    let status = ended.unwrap_or_else(|_| panic!("the agent took it:\n{text}\n{error}"));
    assert!(!status.success(), "{text}\n{error}");
    for word in words {
        assert!(error.contains(word), "no {word:?} in the error:\n{error}");
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().path().display().to_string()).collect();
    names.sort();
    names
}

#[test]
fn an_agent_that_can_not_start_says_why_and_changes_nothing() {
    let lab = lab();
    let good = lab.installation.configuration(lab.spec.topology, lab.spec.hook);
    agent_refuses(&lab, &good.replace("up0", "absent0"), &["absent0"]);
    assert!(!lab.installation.pins.exists());
    agent_refuses(&lab, &format!("{good}uplinks: []\n"), &["uplinks"]);
    assert!(!lab.installation.pins.exists());

    let state = lab.directory("broken-state").unwrap();
    let store = state.join("lb.redb");
    fs::write(&store, "this is no database").unwrap();
    let own = lab.installation.directory.join("state").display().to_string();
    agent_refuses(&lab, &good.replace(&own, &state.to_string_lossy()), &[&*store.to_string_lossy()]);
    assert_eq!(fs::read_to_string(&store).unwrap(), "this is no database");
    assert!(!lab.installation.pins.exists());

    let agent = lab.start_agent().unwrap();
    agent.stop().unwrap();
    let pins = lab.installation.pins.join(lb_common::map::ABI_VERSION.to_string());
    let before = entries(&pins);
    assert!(!before.is_empty());
    agent_refuses(&lab, &format!("{good}datapath: {{flowEntries: 131072}}\n"), &["FLOWS_V4", "--detach"]);
    assert_eq!(entries(&pins), before);
    // What was refused has spoilt nothing for the right configuration.
    lab.start_agent().unwrap().stop().unwrap();
    lab.installation.detach().unwrap();
}
