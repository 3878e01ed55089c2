//! A domain of a real libvirt: found with the labels of its metadata, addressed through its guest agent, balanced to, and
//! out while it is paused.

use lb_tests::lab::client::http;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, wait};
use lb_tests::machine::kernel::Kernel;
use lb_tests::machine::libvirt::Libvirt;
use lb_tests::machine::vm;
use lb_tests::skip::skip;
use serde_json::Value;

use crate::fixture::SOON;

/// Seconds until the domain must be there: an emulated machine boots in a few, on a busy one in many.
const BOOTED: &str = "180";

#[test]
fn a_domain_of_libvirt_is_found_by_its_metadata_and_its_agent_and_out_while_it_is_paused() {
    if let Some(reason) = vm::missing().or_else(Libvirt::missing) {
        return skip(&reason);
    }
    let kernel = match Kernel::find("6.1") {
        Ok(kernel) => kernel,
        Err(reason) => return skip(&reason),
    };
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 0 }).unwrap();
    let directory = lab.directory("libvirt").unwrap();
    let libvirt = Libvirt::start(lab.node(), &directory).unwrap();
    let spec = vm::Spec { name: "real", address: "192.0.2.77/24", mac: "52:54:00:00:02:4d" };
    let image = vm::write_image(&kernel, spec, &directory).unwrap();
    libvirt.define(&kernel, &image, spec).unwrap();
    let metadata = "<vm namespace='shop'><label key='app' value='web'/></vm>";
    let uri = "https://loadbalancer.harvesterhci.io/vm";
    libvirt.virsh(&["metadata", "real", "--uri", uri, "--key", "lb", "--config", "--set", metadata]).unwrap();
    libvirt.virsh(&["start", "real"]).unwrap();

    let text = lab.installation.configuration(Topology::Bridge, Hook::Tc);
    let asked = format!("inventory:\n  libvirt: {}\n", libvirt.socket().display());
    lab.installation.configure(&text.replace("inventory:\n", &asked)).unwrap();
    let agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let checked = ["--listener", "web:80:8080/tcp", "--health-check", "8080", "--health-period", "1"];
    let vip = lab.create_lb("front", &[&checked[..], &["--wait-timeout", BOOTED]].concat());
    let vip =
        vip.unwrap_or_else(|error| panic!("{error:#}; {}; the agent said {}", libvirt.log(), agent.log()));
    let backend = || {
        let object = lab.installation.json(&["get", "front", "--namespace", SHOP]).unwrap();
        let backend = object.pointer("/status/backends/0").cloned().unwrap_or(Value::Null);
        ["vm", "address", "state"].map(|field| backend[field].as_str().unwrap_or_default().to_owned())
    };
    let becomes = |what: &str, expected: [&str; 3]| {
        let result = wait::until(what, SOON, || backend() == expected);
        result
            .unwrap_or_else(|error| panic!("{error}: it is {:?}; the agent said {}", backend(), agent.log()));
    };
    becomes("the domain is found", ["real", "192.0.2.77", "Ready"]);
    let answers = http::ask_often(lab.client(), (vip, 80).into(), 20).unwrap().answers();
    assert_eq!(answers, [("real".to_owned(), 20)].into());

    libvirt.virsh(&["suspend", "real"]).unwrap();
    becomes("a paused domain is nobody's backend", [""; 3]);
    libvirt.virsh(&["resume", "real"]).unwrap();
    becomes("it is back", ["real", "192.0.2.77", "Ready"]);
}
