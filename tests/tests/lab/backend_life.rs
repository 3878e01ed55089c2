//! Backends get and lose their share of new flows while clients go on.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, Map, MapData};
use lb_common::maglev::SlotPair;
use lb_common::map;
use lb_tests::lab::client::connection::{Connection, open_many};
use lb_tests::lab::client::traffic::{Request, Traffic, tally};
use lb_tests::lab::facts::Fact;
use lb_tests::lab::server::echo::{self, Echo};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, wait};

use crate::fixture::{Fixture, SOON, start_http};

/// Once in each topology, and on either hook.
mod a_drained_vm_keeps_its_connections_and_gets_no_new_one {
    use crate::fixture::everywhere;

    everywhere!(@lab drained bridge_tc, BRIDGE_TC, Bridge, Tc);
    everywhere!(@lab drained router_tc, ROUTER_TC, Router, Tc);
    everywhere!(@lab drained stick_xdp, STICK_XDP, Stick, Xdp);
}

fn drained(fixture: &mut Fixture) {
    let installation = &fixture.lab.installation;
    let mut connections = open_many(fixture.lab.client(), fixture.at(echo::PORT), 60).unwrap();
    let of_vm1 = |connections: &[Connection]| connections.iter().filter(|c| c.vm == "vm1").count();
    assert_ne!(of_vm1(&connections), 0, "one of three has none of 60 connections");
    installation.lb(&["backend", "drain", fixture.front(), "vm1", "--namespace", SHOP]).unwrap();
    fixture.until_answered_by(fixture.address(), &["vm2", "vm3"]);
    let fresh = open_many(fixture.lab.client(), fixture.at(echo::PORT), 60).unwrap();
    assert_eq!(of_vm1(&fresh), 0, "new connections to a drained VM");
    connections.iter_mut().for_each(|connection| connection.echo(b"still there?").unwrap());
    installation.lb(&["backend", "weight", fixture.front(), "vm1", "1", "--namespace", SHOP]).unwrap();
    fixture.until_answered_by(fixture.address(), &["vm1", "vm2", "vm3"]);
}

#[test]
fn who_outlives_the_time_to_drain_is_reset() {
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 2 }).unwrap();
    let _echoes: Vec<_> = lab.vms.iter().map(|vm| Echo::start(&vm.namespace, &vm.name).unwrap()).collect();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let vip = lab.create_lb("front", &["--listener", "echo:7/tcp", "--draining", "1"]).unwrap();
    let mut connections = open_many(lab.client(), (vip, echo::PORT).into(), 30).unwrap();
    lab.installation.lb(&["backend", "drain", "front", "vm1", "--namespace", SHOP]).unwrap();
    wait::until("connections to the drained VM end", SOON, || {
        connections.iter_mut().filter(|each| each.vm == "vm1").all(|each| each.echo(b"still there?").is_err())
    })
    .unwrap();
    connections.retain(|connection| connection.vm == "vm2");
    assert_ne!(connections.len(), 0);
    connections.iter_mut().for_each(|connection| connection.echo(b"still there?").unwrap());
}

#[test]
fn a_new_vm_takes_its_share_by_and_by() {
    const WINDOW: usize = 100;
    /// The fair share of one of three is 33.
    const FEW: usize = 25;
    let mut lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 2 }).unwrap();
    let _servers: Vec<_> = lab.vms.iter().map(|vm| start_http(&lab, vm)).collect();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let vip = lab.create_lb("front", &["--listener", "web:80:8080/tcp"]).unwrap();
    // Those that are there have their whole share already.
    start_slowly(&lab, "front", 8);
    let vm = lab.add_vm().unwrap().clone();
    let _server = start_http(&lab, &vm);
    let traffic = Traffic::start(lab.client(), (vip, 80).into(), Duration::from_millis(2)).unwrap();
    let is_new = |request: &Request| request.outcome.as_deref() == Ok(&vm.name);
    let count = |requests: &[Request]| requests.iter().filter(|request| is_new(request)).count();
    lab.write_facts(&lab.facts()).unwrap();
    let first = wait::until_some("the new VM answers", SOON, || {
        let requests = traffic.requests();
        let first = requests.iter().position(is_new)?;
        requests.get(first..first + WINDOW).map(count)
    })
    .unwrap();
    assert!(first <= FEW, "of the first {WINDOW} requests, the new VM got {first}");
    wait::until("the new VM has its share", SOON, || {
        let requests = traffic.requests();
        count(&requests[requests.len() - WINDOW..]) > FEW
    })
    .unwrap();
    assert_eq!(tally(&traffic.stop().unwrap()).failures, [""; 0]);
}

/// Has backends that get ready from now on take so many seconds to have their share.
fn start_slowly(lab: &Lab, name: &str, seconds: u32) {
    let mut object = lab.installation.json(&["get", name, "--namespace", SHOP]).unwrap();
    object["spec"]["slowStart"] = serde_json::json!({ "seconds": seconds });
    let manifest = lab.installation.directory.join("slow-start.yaml");
    fs::write(&manifest, object.to_string()).unwrap();
    lab.installation.lb(&["apply", "-f", &manifest.to_string_lossy()]).unwrap();
}

/// The label of a VM that says its share.
const WEIGHT: &str = "loadbalancer.harvesterhci.io/weight";

fn weighing(mut fact: Fact, weight: u8) -> Fact {
    fact.labels.insert(WEIGHT.to_owned(), format!("\"{weight}\""));
    fact
}

#[test]
fn no_connection_fails_while_the_agent_changes_tables() {
    let (seconds, clients) = if env::var_os("LB_LONG").is_some() { (30, 4) } else { (2, 2) };
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 3 }).unwrap();
    let _servers: Vec<_> = lab.vms.iter().map(|vm| start_http(&lab, vm)).collect();
    let _agent = lab.start_agent().unwrap();
    // The second is in every other table, the third in none.
    let [first, second, third] = <[Fact; 3]>::try_from(lab.facts()).unwrap();
    let tables =
        [0, 1].map(|weight| [first.clone(), weighing(second.clone(), weight), weighing(third.clone(), 0)]);
    lab.write_facts(&tables[1]).unwrap();
    lab.create_pool().unwrap();
    let vip = lab.create_lb("front", &["--listener", "web:80:8080/tcp"]).unwrap();
    let traffic: Vec<_> = (0..clients)
        .map(|_| Traffic::start(lab.client(), (vip, 80).into(), Duration::from_millis(1)).unwrap())
        .collect();
    wait::until("both VMs answer", SOON, || {
        let requests: Vec<_> = traffic.iter().flat_map(Traffic::requests).collect();
        tally(&requests).answers.len() == 2
    })
    .unwrap();

    let pin = lab.installation.pins.join(map::ABI_VERSION.to_string()).join(map::MAGLEV);
    // To its reader, an array of maps is one of the maps' numbers.
    let maglev: Array<_, u32> = Map::Array(MapData::from_pin(pin).unwrap()).try_into().unwrap();
    let backends = || -> BTreeSet<u32> {
        let table = MapData::from_id(maglev.get(&0, 0).unwrap()).unwrap();
        let slots: Array<_, SlotPair> = Map::Array(table).try_into().unwrap();
        slots.iter().flat_map(|pair| pair.unwrap().0).filter(|id| *id != 0).collect()
    };
    let (began, mut changes) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(seconds) || changes <= 4 {
        lab.write_facts(&tables[changes as usize % 2]).unwrap();
        let told = Instant::now();
        // Read while it is written, a table shows both.
        while backends().len() != 1 + changes as usize % 2 {
            assert!(told.elapsed() < SOON, "the agent has not changed the table");
            thread::sleep(Duration::from_millis(1));
        }
        changes += 1;
    }
    let took = began.elapsed();
    let requests: Vec<Request> = traffic.into_iter().flat_map(|each| each.stop().unwrap()).collect();
    let tally = tally(&requests);
    println!("{changes} tables in {took:?}, {} requests: {:?}", requests.len(), tally.answers);
    assert_eq!(tally.failures, [""; 0]);
    assert_eq!(tally.answers.keys().collect::<Vec<_>>(), ["vm1", "vm2"]);
    assert!(changes > 4 && requests.len() > 50, "{changes} tables, {} requests", requests.len());
}
