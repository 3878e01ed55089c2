//! Servers and VMs come and go; clients go on.

use std::time::{Duration, Instant};

use lb_tests::lab::client::traffic::{Traffic, tally};
use lb_tests::lab::facts::Fact;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, wait};

use crate::fixture::{Fixture, SOON, everywhere, in_ipv6, start_http};

everywhere!(
    a_dead_server_is_taken_out_and_comes_back,
    a_removed_vm_gets_no_new_connection,
    a_stopped_vm_gets_no_new_connection,
    a_relabelled_vm_gets_no_new_connection,
    a_readdressed_vm_is_reached_at_its_new_address,
);

in_ipv6!(
    a_dead_server_is_taken_out_and_comes_back: [bridge_tc, router_xdp, stick_xdp],
);

/// Two failed probes, a second apart, the first of them within a second; and as much again for a busy machine.
const OUT: Duration = Duration::from_secs(6);

fn a_dead_server_is_taken_out_and_comes_back(fixture: &mut Fixture) {
    let vip = fixture.create_checked_lb("checked", &[]);
    fixture.until_answered_by(vip, &["vm1", "vm2", "vm3"]);
    let traffic = Traffic::start(fixture.lab.client(), (vip, 80).into(), Duration::from_millis(5)).unwrap();
    fixture.http.remove("vm3").unwrap().kill().unwrap();
    let state = || fixture.lab.backend_state(SHOP, "checked", "vm3").unwrap();
    wait::until("the dead server is out", OUT, || state() != "Active").unwrap();
    let out = Instant::now();
    let since = |moment: Instant| -> Vec<_> {
        traffic.requests().into_iter().filter(|request| request.at >= moment).collect()
    };
    wait::until("more requests are answered", SOON, || since(out).len() >= 200).unwrap();
    let answers = tally(&since(out)).answers();
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["vm1", "vm2"], "{answers:?}");
    let vm = fixture.lab.vms[2].clone();
    fixture.http.insert(vm.name.clone(), start_http(&fixture.lab, &vm));
    wait::until("the server is back", OUT, || traffic.answered_since("vm3", out).is_some()).unwrap();
    let requests = traffic.stop().unwrap();
    let late: Vec<_> = requests.iter().filter(|request| request.at >= out).cloned().collect();
    assert_eq!(tally(&late).failures, [""; 0]);
    fixture.delete_lb("checked");
}

/// Changes what is said of vm1, expects it out, and takes that back.
fn without_vm1(fixture: &Fixture, facts: &[Fact]) {
    fixture.lab.write_facts(facts).unwrap();
    fixture.until_answered_by(fixture.vip, &["vm2", "vm3"]);
    fixture.lab.write_facts(&fixture.lab.facts()).unwrap();
    fixture.until_answered_by(fixture.vip, &["vm1", "vm2", "vm3"]);
}

fn a_removed_vm_gets_no_new_connection(fixture: &mut Fixture) {
    without_vm1(fixture, &fixture.lab.facts()[1..]);
}

fn a_stopped_vm_gets_no_new_connection(fixture: &mut Fixture) {
    let mut facts = fixture.lab.facts();
    facts[0].running = false;
    without_vm1(fixture, &facts);
}

fn a_relabelled_vm_gets_no_new_connection(fixture: &mut Fixture) {
    let mut facts = fixture.lab.facts();
    facts[0].labels = [("app".to_owned(), "database".to_owned())].into();
    without_vm1(fixture, &facts);
}

fn a_readdressed_vm_is_reached_at_its_new_address(fixture: &mut Fixture) {
    let vm = &fixture.lab.vms[0];
    let (old, new) = (format!("{}/24", vm.address), "192.0.2.90/24");
    let mut facts = fixture.lab.facts();
    facts[0].address = [192, 0, 2, 90].into();
    // The new one first: without an address, the route to the node would go.
    vm.namespace.ip(&["address", "add", new, "dev", "eth0"]).unwrap();
    vm.namespace.ip(&["address", "delete", &old, "dev", "eth0"]).unwrap();
    fixture.lab.write_facts(&facts).unwrap();
    fixture.until_answered_by(fixture.vip, &["vm1", "vm2", "vm3"]);
    vm.namespace.ip(&["address", "add", &old, "dev", "eth0"]).unwrap();
    vm.namespace.ip(&["address", "delete", new, "dev", "eth0"]).unwrap();
    fixture.lab.write_facts(&fixture.lab.facts()).unwrap();
    fixture.until_answered_by(fixture.vip, &["vm1", "vm2", "vm3"]);
}

#[test]
fn a_vm_that_appears_is_served_and_serves() {
    let mut lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Xdp, vms: 1 }).unwrap();
    let _first = start_http(&lab, &lab.vms[0]);
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let vip = lab.create_lb("front", &["--listener", "web:80:8080/tcp"]).unwrap();
    let vm = lab.add_vm().unwrap().clone();
    let second = start_http(&lab, &vm);
    // Nobody tells its MAC: the node has to find it.
    let mut facts = lab.facts();
    facts[1].mac.clear();
    lab.write_facts(&facts).unwrap();
    for client in [lab.client(), &lab.vms[0].namespace, &vm.namespace] {
        wait::until(&format!("both VMs answer {}", client.name()), SOON, || {
            let tally = lb_tests::lab::client::http::ask_often(client, (vip, 80).into(), 20).unwrap();
            tally.failures.is_empty() && tally.answers.len() == 2
        })
        .unwrap();
        if client.name() == lab.client().name() {
            let clients = second.clients().unwrap();
            assert!(!clients.contains(&vip.to_string()), "the first clients are hidden from it: {clients:?}");
        }
    }
}
