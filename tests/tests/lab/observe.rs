//! Looking at packets: traces that change nothing, captures that Wireshark reads and that leave no trace.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lb_tests::lab::client::connection;
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::namespace::output;
use lb_tests::lab::process::Process;
use lb_tests::lab::server::echo;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::wait;
use serde_json::Value;

use crate::fixture::{BRIDGE_XDP, Fixture, ROUTER_TC, SOON};

/// `lb trace`, as a document.
fn trace(fixture: &Fixture, arguments: &[&str]) -> Value {
    fixture.lab.installation.json(&[&["trace"], arguments].concat()).unwrap()
}

/// What was decided about a subject, in the order of the decisions.
fn decided(report: &Value, what: &str) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap().iter().filter(|step| step["what"] == what);
    steps.map(|step| step["text"].as_str().unwrap().to_owned()).collect()
}

/// What must not change by a trace of this client's: its flows, and what was counted.
fn state(fixture: &Fixture, client: &str) -> (Value, Value) {
    let flows = fixture.lab.installation.json(&["flows", "--client", client]).unwrap();
    let status = fixture.lab.installation.json(&["status"]).unwrap();
    (flows, status["reasons"].clone())
}

fn traces_are_as_packets_and_change_nothing(fixture: &Fixture) {
    let client = &format!("{}:40000", fixture.lab.spec.topology.client());
    let (dialled, refused) = (fixture.at(80).to_string(), fixture.at(81).to_string());
    let before = state(fixture, client);
    assert_eq!(before.0, serde_json::json!([]));
    let opening = trace(fixture, &["tcp", client, &dialled]);
    assert!(decided(&opening, "vip")[0].contains("shop/front"), "{opening}");
    assert!(decided(&opening, "listener")[0].contains("web"), "{opening}");
    assert!(decided(&opening, "backend")[0].starts_with("vm"), "{opening}");
    assert_eq!(decided(&opening, "flow")[0], "a new flow is entered", "{opening}");
    assert_ne!(opening["before"], opening["after"], "{opening}");
    let refused = trace(fixture, &["tcp", client, &refused]);
    assert_eq!(refused["reason"], "no_listener_reset", "{refused}");
    let foreign = trace(fixture, &["udp", client, "198.51.100.99:9"]);
    assert_eq!((&foreign["verdict"], &foreign["before"]), (&"pass".into(), &foreign["after"]), "{foreign}");
    assert_eq!(state(fixture, client), before);
}

#[test]
fn a_trace_tells_each_decision_and_changes_nothing_by_xdp() {
    traces_are_as_packets_and_change_nothing(&BRIDGE_XDP.take(Topology::Bridge, Hook::Xdp, Family::V4));
}

#[test]
fn a_trace_tells_each_decision_and_changes_nothing_by_tc() {
    traces_are_as_packets_and_change_nothing(&ROUTER_TC.take(Topology::Router, Hook::Tc, Family::V4));
}

#[test]
fn a_trace_sees_the_flows_that_there_are() {
    let fixture = BRIDGE_XDP.take(Topology::Bridge, Hook::Xdp, Family::V4);
    let server = fixture.at(echo::PORT);
    let mut connections = connection::open_many(fixture.lab.client(), server, 1).unwrap();
    let (vm, stream) = connections.remove(0).into_parts();
    let local = stream.local_addr().unwrap().to_string();
    let report = trace(&fixture, &["tcp", &local, &server.to_string(), "--flags", "ACK", "--size", "3"]);
    let flow = decided(&report, "flow");
    assert_eq!(flow.len(), 1, "{report}");
    assert!(flow[0].starts_with("a flow takes it") && flow[0].contains(&vm), "{report}");
}

/// Starts `lb capture` and waits until it captures.
fn capture(fixture: &Fixture, name: &str, arguments: &[&str]) -> (Process, PathBuf) {
    let directory = fixture.lab.directory("captures").unwrap();
    let (file, log) = (directory.join(format!("{name}.pcapng")), directory.join(format!("{name}.log")));
    let mut command = fixture.lab.installation.command(&["capture", "-w", &file.to_string_lossy()]);
    command.args(arguments);
    let process = Process::start(&mut command, log).unwrap();
    wait::until("the capture has begun", SOON, || process.log().contains("capturing")).unwrap();
    (process, file)
}

/// What a capture pins meanwhile.
fn pinned(fixture: &Fixture) -> usize {
    let pins = fixture.lab.installation.pins.join(lb_common::map::ABI_VERSION.to_string());
    let names = fs::read_dir(pins).unwrap().map(|file| file.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("CAPTURE_")).count()
}

fn is_over(fixture: &Fixture) {
    wait::until("the capture is over", SOON, || pinned(fixture) == 0).unwrap();
}

#[test]
fn a_capture_shows_packets_before_and_after_to_wireshark() {
    let fixture = BRIDGE_XDP.take(Topology::Bridge, Hook::Xdp, Family::V4);
    let vip = fixture.vip.to_string();
    let (mut process, file) =
        capture(&fixture, "wireshark", &["--vip", &vip, "--port", "80", "--count", "8"]);
    let mut ended = None;
    wait::until("eight packets are captured", SOON, || {
        fixture.ask(2);
        ended = process.ended(Duration::from_millis(200)).ok();
        ended.is_some()
    })
    .unwrap();
    assert!(ended.unwrap().success() && process.log().contains("8 packets captured"), "{}", process.log());
    is_over(&fixture);
    let fields = ["frame.interface_name", "ip.src", "ip.dst", "tcp.port", "frame.comment"];
    let mut tshark = std::process::Command::new("tshark");
    tshark.args(["-r", &file.to_string_lossy(), "-T", "fields"]);
    tshark.args(fields.iter().flat_map(|field| ["-e", field]));
    let text = output(&mut tshark).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 16, "{text}");
    for pair in rows.chunks(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!((before[0], after[0]), ("up0", "up0"), "{text}");
        assert!(before[4].starts_with("before: "), "{text}");
        assert_eq!(after[4], "after: pass", "{text}");
        // A question's destination is rewritten, or an answer's source.
        let is_question = before[2] == vip;
        assert!(is_question || after[1] == vip, "{text}");
        assert_ne!(before[1..3], after[1..3], "{text}");
    }
    fixture.ask(5);
}

#[test]
fn a_capture_ends_with_its_reader_and_with_the_agent() {
    let mut fixture = ROUTER_TC.take(Topology::Router, Hook::Tc, Family::V4);
    let (process, _) = capture(&fixture, "reader", &[]);
    let second = fixture.lab.installation.run(&["capture", "--seconds", "1"]).unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another capture runs"));
    assert!(pinned(&fixture) > 0);
    process.kill().unwrap();
    is_over(&fixture);
    fixture.ask(5);

    let (_process, _) = capture(&fixture, "agent", &[]);
    fixture.agent.take().unwrap().kill().unwrap();
    fixture.ask(5);
    assert!(pinned(&fixture) > 0);
    fixture.agent = Some(fixture.lab.start_agent().unwrap());
    is_over(&fixture);
    fixture.ask(5);
}

/// Runs the agent anew, with more in its configuration.
fn restart(fixture: &mut Fixture, more: &str) {
    let installation = &fixture.lab.installation;
    let spec = fixture.lab.spec;
    let text = installation.configuration(spec.topology, spec.hook);
    installation.configure(&format!("{text}{more}")).unwrap();
    fixture.agent.take().unwrap().kill().unwrap();
    fixture.agent = Some(fixture.lab.start_agent().unwrap());
}

#[test]
fn events_tell_of_each_connection_what_it_carried() {
    let mut fixture = BRIDGE_XDP.take(Topology::Bridge, Hook::Xdp, Family::V4);
    restart(&mut fixture, "datapath: {flowAccounting: true}\n");
    let log = fixture.lab.directory("events").unwrap().join("events.log");
    let mut command = fixture.lab.installation.command(&["events", "-o", "json", "--lb", "shop/front"]);
    let process = Process::start(command.args(["--count", "2"]), log).unwrap();
    let log = || process.log();
    wait::until("somebody listens", SOON, || log().contains("listening"))
        .unwrap_or_else(|error| panic!("{error}: {}", log()));
    let second = fixture.lab.installation.run(&["events", "--seconds", "1"]).unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("somebody else listens"), "{second:?}");
    fixture.ask(1);
    wait::until("both events are told", SOON, || log().contains("2 events"))
        .unwrap_or_else(|error| panic!("{error}: {}", log()));
    let text = log();
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [opened, closed] = &events[..] else { panic!("{text}") };
    assert_eq!((&opened["kind"], &closed["kind"]), (&"opened".into(), &"closed".into()), "{text}");
    let flow = &opened["flow"];
    assert_eq!((flow, &flow["loadBalancer"]), (&closed["flow"], &"shop/front".into()), "{text}");
    assert!(flow["vm"].as_str().is_some_and(|vm| vm.starts_with("vm")), "{text}");
    assert_eq!(flow["vip"], fixture.at(80).to_string(), "{text}");
    let carried = &closed["carried"];
    // A handshake, a question or an answer, and an end, some of them in one; a frame has 54 bytes at least.
    for way in ["forward", "reply"] {
        let count = |what| carried[format!("{way}{what}")].as_u64().unwrap();
        assert!(count("Packets") >= 2 && count("Bytes") > 54 * count("Packets"), "{text}");
    }
    assert!(carried["durationSeconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{text}");
    restart(&mut fixture, "");
    fixture.ask(5);
}
