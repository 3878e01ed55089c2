//! A real VM: found by its label, addressed through its guest agent, balanced to, and out when its server dies.

use std::fs;

use lb_tests::lab::client::http;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, wait};
use lb_tests::machine::kernel::Kernel;
use lb_tests::machine::vm::{self, Vm};
use lb_tests::skip::skip;
use serde_json::Value;

use crate::fixture::SOON;

/// Seconds until the VM must be there: an emulated machine boots in a few, on a busy one in many.
const BOOTED: &str = "180";

#[test]
fn a_vm_is_addressed_through_its_guest_agent_balanced_to_and_out_when_its_server_dies() {
    if let Some(reason) = vm::missing() {
        return skip(&reason);
    }
    let kernel = match Kernel::find("6.1") {
        Ok(kernel) => kernel,
        Err(reason) => return skip(&reason),
    };
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap();
    let directory = lab.directory("vm").unwrap();
    let spec = vm::Spec { name: "real", address: "192.0.2.77/24", mac: "52:54:00:00:02:4d" };
    let vm = Vm::start(&lab, &kernel, spec, &directory).unwrap();
    let facts = format!(
        "virtualMachines:\n  - {{namespace: {SHOP}, name: real, labels: {{app: web}}, guestAgent: {}}}\n",
        vm.agent.display()
    );
    fs::write(lab.installation.facts(), facts).unwrap();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let checked = ["--listener", "web:80:8080/tcp", "--health-check", "8080", "--health-period", "1"];
    let patient = ["--wait-timeout", BOOTED];
    let vip = lab.create_lb("front", &[&checked[..], &patient[..]].concat());
    let vip = vip.unwrap_or_else(|error| panic!("{error:#}; the VM said {}", vm.log()));
    let backend = || {
        let object = lab.installation.json(&["get", "front", "--namespace", SHOP]).unwrap();
        let backend = object.pointer("/status/backends/0").cloned().unwrap_or(Value::Null);
        let text = |field: &str| backend[field].as_str().unwrap_or_default().to_owned();
        [text("address"), text("state"), text("message")]
    };
    let becomes = |what: &str, expected: [&str; 3]| {
        let result = wait::until(what, SOON, || backend() == expected);
        result.unwrap_or_else(|error| panic!("{error}: it is {:?}; the VM said {}", backend(), vm.log()));
    };
    becomes("the VM's agent tells its address, and its server answers", ["192.0.2.77", "Ready", ""]);
    let answers = http::ask_often(lab.client(), (vip, 80).into(), 20).unwrap().answers();
    assert_eq!(answers, [("real".to_owned(), 20)].into());

    stop_server(&lab);
    becomes("its server is found dead", ["192.0.2.77", "NotReady", "connection refused"]);

    vm.kill().unwrap();
    wait::until("a VM that is off is nobody's backend", SOON, || backend() == [""; 3]).unwrap();
}

/// Asks the VM's server for what ends it; it may have no time to answer.
fn stop_server(lab: &Lab) {
    let url = format!("http://192.0.2.77:{}/cgi-bin/stop", vm::PORT);
    lab.client().command("curl").args(["--silent", "--max-time", "5", &url]).output().unwrap();
}
