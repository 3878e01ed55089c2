//! Packets do not need the agent: it is killed, restarted and detached under traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use aya::programs::SchedClassifier;
use aya::programs::tc::TcAttachType;
use lb_tests::lab::client::connection::{Connection, open_many};
use lb_tests::lab::namespace::{Namespace, output};
use lb_tests::lab::process::Process;
use lb_tests::lab::server::echo;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, pins, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fixture::{Fixture, SOON, everywhere, in_ipv6};

everywhere!(
    c23_a_killed_agent_leaves_connections_counters_and_maps_alone,
    a_stream_goes_on_while_the_agent_is_killed_and_restarted,
);

in_ipv6!(
    c23_a_killed_agent_leaves_connections_counters_and_maps_alone: [bridge_tc, router_xdp],
    a_stream_goes_on_while_the_agent_is_killed_and_restarted: [bridge_xdp, stick_xdp],
);

fn c23_a_killed_agent_leaves_connections_counters_and_maps_alone(fixture: &mut Fixture) {
    const CONNECTIONS: usize = 1000;
    let mut connections = open_many(fixture.lab.client(), fixture.at(echo::PORT), CONNECTIONS).unwrap();
    echo_on_all(&mut connections);
    let maps = pins::snapshot(&fixture.lab.installation.pins).unwrap();
    let counted = packets(fixture, fixture.front());
    fixture.agent.take().unwrap().kill().unwrap();
    echo_on_all(&mut connections);
    assert_eq!(fixture.ask(60).len(), 3, "new connections without an agent");
    assert_same(&maps, &pins::snapshot(&fixture.lab.installation.pins).unwrap());
    fixture.agent = Some(fixture.lab.start_agent().unwrap());
    echo_on_all(&mut connections);
    assert_eq!(fixture.ask(60).len(), 3, "new connections after the restart");
    assert_same(&maps, &pins::snapshot(&fixture.lab.installation.pins).unwrap());
    let counted_again = packets(fixture, fixture.front());
    // A thousand echoes are two thousand packets of data at least, twice.
    assert!(counted_again >= counted + 4000, "{counted} packets, then {counted_again}");
}

fn echo_on_all(connections: &mut [Connection]) {
    for (index, connection) in connections.iter_mut().enumerate() {
        connection.echo(b"still there?").unwrap_or_else(|error| panic!("connection {index}: {error:#}"));
    }
}

fn assert_same(one: &pins::Snapshot, other: &pins::Snapshot) {
    for (map, entries) in one {
        assert_eq!(entries, &other[map], "{map} has changed");
    }
}

/// The packets that the agent counts for the backends of a load balancer, both ways.
fn packets(fixture: &Fixture, name: &str) -> u64 {
    let report = fixture.lab.installation.json(&["backend", "list", name, "--namespace", SHOP]).unwrap();
    let listeners = report.pointer("/loadBalancers/0/listeners").and_then(Value::as_array).unwrap();
    let backends = listeners.iter().flat_map(|listener| listener["backends"].as_array().unwrap());
    let counters = backends.map(|backend| &backend["counters"]);
    counters
        .map(|each| each["forwardPackets"].as_u64().unwrap() + each["replyPackets"].as_u64().unwrap())
        .sum()
}

fn a_stream_goes_on_while_the_agent_is_killed_and_restarted(fixture: &mut Fixture) {
    let log = fixture.lab.installation.directory.join("iperf3-client.log");
    drop(std::fs::remove_file(&log));
    // iperf3 opens two connections, which have to reach the same server.
    let vip = fixture.create_lb("stream", &["--listener", "5201/tcp", "--selector", "vm=vm1"]);
    let vip = vip.to_string();
    let mut command = fixture.lab.client().command("iperf3");
    // Slow enough to leave the processors to other tests; still thousands of packets a second. It is ended once the
    // agent is back, however long that takes on a busy machine.
    command.args(["-c", &vip, "-t", "120", "-b", "50M", "--json"]);
    let mut stream = Process::start(&mut command, log).unwrap();
    wait::until("the stream flows", SOON, || packets(fixture, "stream") > 1000).unwrap();
    fixture.agent.take().unwrap().kill().unwrap();
    fixture.agent = Some(fixture.lab.start_agent().unwrap());
    let flown = packets(fixture, "stream");
    wait::until("the stream flows on", SOON, || packets(fixture, "stream") > flown + 100).unwrap();
    assert!(stream.is_running(), "the stream ended early: {}", stream.log());
    stream.signal(Signal::SIGTERM).unwrap();
    stream.ended(Duration::from_secs(30)).unwrap();
    let report: Value = serde_json::from_str(&stream.log()).unwrap();
    let end = report["error"].as_str().unwrap_or_default();
    assert!(end.starts_with("interrupt - the client has terminated"), "{report}");
    for interval in report["intervals"].as_array().unwrap() {
        let sum = &interval["sum"];
        assert!(sum["bytes"].as_u64().unwrap() > 0, "nothing flowed in {sum}");
    }
    fixture.delete_lb("stream");
}

/// Programs by interface and hook.
fn attached(namespace: &Namespace) -> BTreeMap<String, Vec<String>> {
    let text = output(namespace.command("ip").args(["-json", "-details", "link"])).unwrap();
    let links: Vec<Value> = serde_json::from_str(&text).unwrap();
    let names: Vec<String> = links.iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect();
    let mut found = BTreeMap::new();
    for (link, name) in links.iter().zip(names) {
        let mut programs: Vec<String> = link.get("xdp").map(|xdp| format!("xdp {xdp}")).into_iter().collect();
        for hook in [TcAttachType::Ingress, TcAttachType::Egress] {
            let (_, tcx) = namespace.enter(|| SchedClassifier::query_tcx(&name, hook)).unwrap().unwrap();
            programs.extend(tcx.iter().map(|program| format!("tcx {:?}", program.name_as_str())));
        }
        if !programs.is_empty() {
            found.insert(name, programs);
        }
    }
    found
}

fn detach_leaves_nothing(topology: Topology, hook: Hook) {
    let lab = Lab::create(Spec { topology, hook, vms: 2 }).unwrap();
    let agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    lab.create_lb("front", &["--listener", "web:80:8080/tcp"]).unwrap();
    agent.stop().unwrap();
    assert!(!attached(lab.node()).is_empty(), "programs outlive the agent");
    assert!(lab.installation.pins.exists());
    lab.installation.detach().unwrap();
    assert_eq!(attached(lab.node()), BTreeMap::new());
    assert!(!lab.installation.pins.exists(), "{} is left", lab.installation.pins.display());
    assert!(!lab.installation.socket().exists(), "the socket is left");
    // Once more: nothing to remove is no error.
    lab.installation.detach().unwrap();
}

#[test]
fn detach_leaves_nothing_on_a_bridge() {
    detach_leaves_nothing(Topology::Bridge, Hook::Xdp);
    detach_leaves_nothing(Topology::Bridge, Hook::Tc);
}

#[test]
fn detach_leaves_nothing_on_a_stick() {
    detach_leaves_nothing(Topology::Stick, Hook::Xdp);
    detach_leaves_nothing(Topology::Stick, Hook::Tc);
}

#[test]
fn detach_leaves_nothing_on_a_router() {
    detach_leaves_nothing(Topology::Router, Hook::Xdp);
    detach_leaves_nothing(Topology::Router, Hook::XdpGeneric);
}
