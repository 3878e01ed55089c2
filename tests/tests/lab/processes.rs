//! Processes of the node dial VIPs, and believe that they talk to them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use aya::programs::ProgramInfo;
use lb_tests::lab::namespace::{Namespace, output};
use lb_tests::lab::server::{dns, echo};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, cgroup, wait};
use lb_tests::skip::skip;

use crate::fixture::{Fixture, SOON, everywhere};

everywhere!(
    processes_of_the_node_reach_a_vip,
    only_processes_in_the_nodes_network_are_served,
    a_dead_backend_is_not_dialled_by_processes,
    processes_are_refused_where_nobody_serves,
    processes_are_served_while_no_agent_runs,
);

/// Where there is no cgroup2 file system, nothing can be tested.
fn is_possible() -> bool {
    let possible = cgroup::mount().is_some();
    if !possible {
        skip("/proc/self/mounts has no cgroup2 file system");
    }
    possible
}

/// What `dial` prints in a namespace, a line a dialling.
fn dial(lab: &Lab, namespace: &Namespace, how: &str, server: SocketAddr, count: u32) -> Vec<String> {
    let mut command = lab.process_in(namespace, env!("CARGO_BIN_EXE_dial"));
    let text = output(command.args([how, &server.to_string(), &count.to_string()])).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), usize::try_from(count).unwrap(), "{text}");
    lines
}

/// The names of the VMs that connections of the node's processes reach.
fn reached(lab: &Lab, server: SocketAddr) -> BTreeSet<String> {
    /// The chance that one of three VMs gets none of so many is 10^-10.
    const ENOUGH: u32 = 60;
    let lines = dial(lab, lab.node(), "tcp", server, ENOUGH);
    lines.iter().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

/// An IPv6 socket dials IPv4 by this address.
fn mapped(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => server,
    }
}

fn processes_of_the_node_reach_a_vip(fixture: &mut Fixture) {
    if !is_possible() {
        return;
    }
    let (lab, vip) = (&fixture.lab, fixture.at(echo::PORT));
    for server in [vip, mapped(vip)] {
        for line in dial(lab, lab.node(), "tcp", server, 20) {
            assert!(line.starts_with(&format!("{server} - vm")), "{line}");
        }
        assert_eq!(dial(lab, lab.node(), "udp", server, 5), vec![format!("- {server} -"); 5]);
        let connected = vec![format!("{server} {server} -"); 5];
        assert_eq!(dial(lab, lab.node(), "udp-connected", server, 5), connected);
    }
    assert_eq!(reached(lab, vip).into_iter().collect::<Vec<_>>(), ["vm1", "vm2", "vm3"]);
    let question = ["+short", "+tries=1", "+time=5", "TXT", dns::QUESTION, &format!("@{}", fixture.vip)];
    let answer = output(lab.process_in(lab.node(), "dig").args(question)).unwrap();
    assert!(answer.starts_with("\"vm"), "{answer}");
    let url = format!("http://{}/", fixture.vip);
    let page =
        output(lab.process_in(lab.node(), "curl").args(["--silent", "--fail", "--max-time", "5", &url]));
    assert!(page.unwrap().contains("vm"));
    let status = lab.installation.lb(&["status"]).unwrap();
    assert!(status.contains("of this node are served in /"), "{status}");
}

fn only_processes_in_the_nodes_network_are_served(fixture: &mut Fixture) {
    if !is_possible() {
        return;
    }
    // In the cgroup, but elsewhere: its packets are balanced, its sockets are not.
    let (lab, vip) = (&fixture.lab, fixture.at(echo::PORT));
    let flows = || flows_opened(lab);
    let before = flows();
    for line in dial(lab, lab.client(), "tcp", vip, 5) {
        assert!(line.starts_with(&format!("{vip} - vm")), "{line}");
    }
    assert_eq!(flows(), before + 5);
    let table =
        |lab: &Lab| lab.installation.json(&["status"]).unwrap()["flows"]["ipv4"]["used"].as_u64().unwrap();
    let entries = table(lab);
    dial(lab, lab.node(), "tcp", vip, 5);
    assert_eq!(flows(), before + 10, "what processes dial counts as flows");
    assert!(table(lab) <= entries, "but takes no room in the flow table");
}

/// The flows that the agent counts for the echo listener.
fn flows_opened(lab: &Lab) -> u64 {
    let report = lab.installation.json(&["backend", "list", "front", "--namespace", SHOP]).unwrap();
    let listeners = report.pointer("/loadBalancers/0/listeners").and_then(|list| list.as_array()).unwrap();
    let echo = listeners.iter().find(|listener| listener["name"] == "echo").unwrap();
    echo["counters"]["flows"].as_u64().unwrap()
}

fn a_dead_backend_is_not_dialled_by_processes(fixture: &mut Fixture) {
    if !is_possible() {
        return;
    }
    let vip = fixture.create_checked_lb("checked", &["--listener", "echo:7/tcp"]);
    let server = SocketAddr::from((vip, echo::PORT));
    fixture.until_answered_by(vip, &["vm1", "vm2", "vm3"]);
    assert_eq!(reached(&fixture.lab, server).len(), 3);
    drop(fixture.http.remove("vm1"));
    fixture.until_answered_by(vip, &["vm2", "vm3"]);
    assert_eq!(reached(&fixture.lab, server).into_iter().collect::<Vec<_>>(), ["vm2", "vm3"]);
    let http = crate::fixture::start_http(&fixture.lab, &fixture.lab.vms[0]);
    fixture.http.insert("vm1".to_owned(), http);
    fixture.delete_lb("checked");
    fixture.until_answered_by(fixture.vip, &["vm1", "vm2", "vm3"]);
}

fn processes_are_refused_where_nobody_serves(fixture: &mut Fixture) {
    if !is_possible() {
        return;
    }
    let (lab, nowhere) = (&fixture.lab, fixture.at(9));
    for server in [nowhere, mapped(nowhere)] {
        for how in ["tcp", "udp", "udp-connected"] {
            assert_eq!(dial(lab, lab.node(), how, server, 1), ["error: ConnectionRefused"], "{how}");
        }
    }
    // A listener without a backend.
    lab.write_facts(&[]).unwrap();
    let refused = || dial(lab, lab.node(), "tcp", fixture.at(echo::PORT), 1) == ["error: ConnectionRefused"];
    wait::until("a listener without backends refuses", SOON, refused).unwrap();
    lab.write_facts(&lab.facts()).unwrap();
    fixture.until_answered_by(fixture.vip, &["vm1", "vm2", "vm3"]);
}

/// The ids of the pinned programs of processes' sockets.
fn pinned(lab: &Lab) -> BTreeSet<u32> {
    let programs = lab.installation.pins.join(lb_common::map::ABI_VERSION.to_string()).join("programs");
    let id = |name| ProgramInfo::from_pin(programs.join(name)).unwrap().id();
    lb_common::map::program::SOCKETS.map(id).into_iter().collect()
}

fn processes_are_served_while_no_agent_runs(fixture: &mut Fixture) {
    if !is_possible() {
        return;
    }
    let before = pinned(&fixture.lab);
    fixture.agent.take().unwrap().kill().unwrap();
    let vip = fixture.at(echo::PORT);
    assert_eq!(reached(&fixture.lab, vip).len(), 3, "without an agent");
    fixture.agent = Some(fixture.lab.start_agent().unwrap());
    assert_eq!(reached(&fixture.lab, vip).len(), 3, "after the restart");
    assert_eq!(pinned(&fixture.lab), before, "by the same programs");
}

#[test]
fn processes_are_left_alone_where_that_is_configured_and_after_detaching() {
    if !is_possible() {
        return;
    }
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap();
    let links = || {
        let version = lb_common::map::ABI_VERSION.to_string();
        let listing = std::fs::read_dir(lab.installation.pins.join(version).join("links"));
        let names = listing.into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().contains("lb_connect")).count()
    };
    let configuration = lab.installation.configuration(Topology::Bridge, Hook::Tc);
    let agent = lab.start_agent().unwrap();
    let status = lab.installation.lb(&["status"]).unwrap();
    assert!(status.contains("of this node are served in /"), "{status}");
    agent.stop().unwrap();
    assert_eq!(links(), 2);
    let version = lab.installation.pins.join(lb_common::map::ABI_VERSION.to_string());
    let connect4 = version.join("programs/lb_connect4");
    assert!(connect4.exists());

    let (served, place): (Vec<&str>, Vec<&str>) =
        configuration.lines().partition(|line| !line.starts_with("nodeProcesses"));
    assert_eq!(place.len(), 1);
    for (word, reason) in [("none", "nodeProcesses is none"), ("/proc", "/proc is not in a cgroup2")] {
        lab.installation.configure(&format!("{}\nnodeProcesses: {word}\n", served.join("\n"))).unwrap();
        let agent = lab.start_agent().unwrap();
        let status = lab.installation.lb(&["status"]).unwrap();
        assert!(status.contains("of this node are not served") && status.contains(reason), "{status}");
        assert_eq!(links(), 0);
        assert!(!connect4.exists());
        agent.stop().unwrap();
    }
    lab.installation.configure(&configuration).unwrap();
    lab.start_agent().unwrap().stop().unwrap();
    assert_eq!(links(), 2);
    lab.installation.detach().unwrap();
    assert!(!lab.installation.pins.exists());
}
