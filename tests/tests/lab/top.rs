//! `lb top`, while there is something to see.

use lb_tests::lab::client::connection;
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::process::Process;
use lb_tests::lab::server::echo;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{SHOP, terminal, wait};
use serde_json::Value;

use crate::fixture::{ROUTER_TC, SOON};

/// A listener of the latest view that was shown.
fn latest(log: &str, name: &str) -> Option<Value> {
    let view: Value = log.lines().rev().find_map(|line| serde_json::from_str(line).ok())?;
    view["listeners"].as_array()?.iter().find(|listener| listener["listener"] == name).cloned()
}

#[test]
fn top_shows_who_has_traffic_now_and_gives_the_screen_back() {
    let fixture = ROUTER_TC.take(Topology::Router, Hook::Tc, Family::V4);
    let log = fixture.lab.directory("top").unwrap().join("top.log");
    let arguments = ["top", "front", "-n", SHOP, "--interval", "1", "--count", "600", "-o", "json"];
    let process = Process::start(&mut fixture.lab.installation.command(&arguments), log).unwrap();
    let held = connection::open_many(fixture.lab.client(), fixture.at(echo::PORT), 3).unwrap();
    let is_above_zero = |listener: &Value, rates: &[&str]| {
        rates.iter().all(|rate| listener[format!("{rate}PerSecond")].as_f64().is_some_and(|rate| rate > 0.0))
    };
    wait::until("the traffic is shown", SOON, || {
        fixture.ask(5);
        let web = latest(&process.log(), "web").unwrap_or_default();
        let vms = web["backends"].as_array().map(Vec::as_slice).unwrap_or_default();
        is_above_zero(&web, &["packets", "bytes", "newFlows"])
            && vms.iter().any(|vm| vm["vm"] == "vm1" && is_above_zero(vm, &["packets"]))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", process.log()));
    wait::until("the flows that are held are shown", SOON, || {
        let echo = latest(&process.log(), "echo").unwrap_or_default();
        echo["liveFlows"].as_u64().is_some_and(|flows| flows >= 3)
    })
    .unwrap_or_else(|error| panic!("{error}: {}", process.log()));
    let dns = latest(&process.log(), "dns").unwrap();
    assert_eq!(dns["packetsPerSecond"], 0.0, "{dns}");
    process.kill().unwrap();

    let once = ["top", "-n", SHOP, "--interval", "1", "--by", "live", "--once"];
    let text = fixture.lab.installation.lb(&once).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("shop/"));
    let live = rows.map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|row| row[2] == "all");
    // The number and the unit of bytes are two words.
    let live: Vec<u64> = live.map(|row| row[8].parse().unwrap()).collect();
    assert!(live.is_sorted_by(|a, b| a >= b) && live[0] >= 3, "{text}");
    drop(held);

    let mut command = fixture.lab.installation.command(&["top", "-A", "--interval", "1", "--count", "1"]);
    let (is_done, shown) = terminal::run(&mut command, "").unwrap();
    assert!(is_done && shown.starts_with("\x1b[?1049h") && shown.ends_with("\x1b[?1049l"), "{shown:?}");
    assert!(shown.contains("shop/front"), "{shown:?}");
    let missing = fixture.lab.installation.run(&["top", "nobody", "-n", SHOP]).unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nobody"), "{missing:?}");
}
