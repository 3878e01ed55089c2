//! The doctor: settings that lose packets are found, and its remedies mend them.

use std::fs;

use lb_tests::lab::namespace::output;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec, wait};
use serde_json::Value;

use crate::fixture::SOON;

struct Visit {
    healthy: bool,
    findings: Vec<Value>,
}

/// `lb doctor` on the lab's node.
fn visit(lab: &Lab) -> Visit {
    visit_with(lab, &[])
}

fn visit_with(lab: &Lab, more: &[&str]) -> Visit {
    let config = lab.installation.config();
    let config = config.to_string_lossy();
    let arguments = [&["doctor", "--config", &config, "--output", "json"], more].concat();
    let output = lab.installation.run(&arguments).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let document: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    Visit { healthy: output.status.success(), findings: document["findings"].as_array().unwrap().clone() }
}

impl Visit {
    /// Severity and remedy of what was found at a place.
    fn of(&self, check: &str, subject: &str) -> Option<(&str, &str)> {
        let mut matching = self.findings.iter().filter(|f| f["check"] == check && f["subject"] == subject);
        let finding = matching.next()?;
        Some((finding["severity"].as_str()?, finding["remedy"].as_str().unwrap_or_default()))
    }

    fn severity(&self, check: &str, subject: &str) -> Option<&str> {
        self.of(check, subject).map(|(severity, _)| severity)
    }

    /// Runs all remedies of problems and warnings at these places.
    fn cure(&self, lab: &Lab, places: &[(&str, &str)]) {
        for (check, subject) in places {
            let (_, remedy) = self.of(check, subject).unwrap();
            output(lab.node().command("sh").args(["-c", remedy])).unwrap();
        }
    }
}

fn lab(topology: Topology) -> Lab {
    Lab::create(Spec { topology, hook: Hook::Tc, vms: 2 }).unwrap()
}

fn rules(lab: &Lab, text: &str) {
    let file = lab.installation.directory.join("rules.nft");
    fs::write(&file, text).unwrap();
    output(lab.node().command("nft").args(["-f", &file.to_string_lossy()])).unwrap();
}

const DROP: &str =
    "table inet lab {\n chain forward {\n type filter hook forward priority filter; policy drop;\n }\n}\n";

#[test]
fn broken_settings_of_a_vm_host_are_found_and_their_remedies_mend_them() {
    let lab = lab(Topology::Bridge);
    assert_eq!(visit(&lab).severity("agent", "agent"), Some("warning"), "no agent runs yet");
    let agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let vip = lab.create_lb("front", &["--listener", "web:80:8080/tcp"]).unwrap().to_string();
    let well = visit(&lab);
    assert!(well.healthy, "{:?}", well.findings);

    rules(&lab, DROP);
    lab.node().sysctl("bridge/bridge-nf-call-iptables", "1").unwrap();
    lab.node().ip(&["address", "add", &format!("{vip}/32"), "dev", "br0"]).unwrap();
    lab.node().ip(&["link", "set", "up0", "down"]).unwrap();
    let broken = visit(&lab);
    let places = [("firewall", "inet lab forward"), ("addresses", &vip), ("interfaces", "up0")];
    for (check, subject) in places {
        assert_eq!(broken.severity(check, subject), Some("problem"), "{subject}: {:?}", broken.findings);
    }
    assert!(!broken.healthy);
    broken.cure(&lab, &places);
    let cured = visit(&lab);
    for (check, subject) in places {
        assert_eq!(cured.severity(check, subject), None, "{:?}", cured.findings);
    }

    silence_a_vm(&lab);

    // Another host with the VIP is found when it is asked for.
    assert!(visit_with(&lab, &["--probe"]).healthy);
    lab.client().ip(&["address", "add", &format!("{vip}/32"), "dev", "eth0"]).unwrap();
    assert_eq!(visit_with(&lab, &["--probe"]).severity("addresses", &vip), Some("problem"));
    lab.client().ip(&["address", "del", &format!("{vip}/32"), "dev", "eth0"]).unwrap();

    let links = lab.installation.pins.join(lb_common::map::ABI_VERSION.to_string()).join("links");
    let link = fs::read_dir(&links).unwrap().map(|file| file.unwrap().path());
    let link = link.into_iter().find(|path| path.to_string_lossy().ends_with("-tc-ingress")).unwrap();
    fs::remove_file(link).unwrap();
    let detached = visit(&lab);
    let lost = detached.findings.iter().any(|f| f["check"] == "pins" && f["severity"] == "problem");
    assert!(lost, "{:?}", detached.findings);
    // The remedy is to start the agent anew, which here is the test's to do.
    agent.stop().unwrap();
    let _agent = lab.start_agent().unwrap();
    let well = visit(&lab);
    assert!(well.healthy, "{:?}", well.findings);
}

/// A VM that does not answer ARP, and then does.
fn silence_a_vm(lab: &Lab) {
    let (vm, address) = (&lab.vms[1], lab.vms[1].address.to_string());
    vm.namespace.ip(&["link", "set", "eth0", "down"]).unwrap();
    lab.node().ip(&["neighbour", "flush", "to", &address]).unwrap();
    lab.node().ip(&["neighbour", "replace", &address, "dev", "br0", "use"]).unwrap();
    let silent = visit(lab);
    let place = ("neighbours", address.as_str());
    assert_eq!(silent.severity(place.0, place.1), Some("warning"), "{:?}", silent.findings);
    vm.namespace.ip(&["link", "set", "eth0", "up"]).unwrap();
    silent.cure(lab, &[place]);
    wait::until("the neighbour is resolved", SOON, || visit(lab).of(place.0, place.1).is_none()).unwrap();
}

#[test]
fn broken_settings_of_a_gateway_are_found_and_their_remedies_mend_them() {
    let lab = lab(Topology::Router);
    let _agent = lab.start_agent().unwrap();
    let well = visit(&lab);
    assert!(well.healthy, "{:?}", well.findings);
    lab.node().sysctl("ipv4/ip_forward", "0").unwrap();
    lab.node().sysctl("ipv4/conf/up0/rp_filter", "1").unwrap();
    rules(&lab, &DROP.replace("policy drop;", "policy drop; ct state invalid drop"));
    let broken = visit(&lab);
    let (forward, filter) = (("stack", "net.ipv4.ip_forward"), ("stack", "net.ipv4.conf.up0.rp_filter"));
    let firewall = ("firewall", "inet lab forward");
    assert_eq!(broken.severity(forward.0, forward.1), Some("problem"), "{:?}", broken.findings);
    assert_eq!(broken.severity(filter.0, filter.1), Some("warning"), "{:?}", broken.findings);
    assert_eq!(broken.severity(firewall.0, firewall.1), Some("problem"), "{:?}", broken.findings);
    broken.cure(&lab, &[forward, filter, firewall]);
    let cured = visit(&lab);
    for (check, subject) in [forward, filter] {
        assert_eq!(cured.severity(check, subject), None, "{:?}", cured.findings);
    }
    assert!(cured.healthy, "{:?}", cured.findings);
}
