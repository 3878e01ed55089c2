//! VMs of which only the MAC is known: what they are lent, and what the node's neighbour table knows of them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lb_tests::lab::namespace::{Namespace, output};
use lb_tests::lab::server::dhcp::{Dhcp, Make, Scope, Terms};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, Vm, wait};
use lb_tests::machine::vm::BUSYBOX;
use lb_tests::skip::skip;

use crate::fixture::SOON;

/// What a DHCP client does with its lease.
const SCRIPT: &str = "#!/bin/sh
[ \"$1\" = bound ] || exit 0
ip address flush dev \"$interface\" && ip address add \"$ip/24\" dev \"$interface\"
";

/// Each server, its lease file, and the one address that it lends.
const SERVERS: [(Make, &str, u8); 3] =
    [(Make::Dnsmasq, "leases", 230), (Make::Kea, "leases.csv", 231), (Make::Isc, "dhcpd.leases", 232)];

const fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

/// Has the VM ask for an address. Servers need a moment before they answer.
fn borrow(vm: &Namespace, script: &Path) {
    let arguments = ["udhcpc", "-f", "-q", "-n", "-t", "30", "-T", "1", "-i", "eth0", "-s"];
    output(vm.command(BUSYBOX).args(arguments).arg(script)).unwrap();
}

#[test]
fn a_vm_without_an_agent_is_found_by_its_lease_or_by_its_neighbour() {
    if !Path::new(BUSYBOX).exists() {
        return skip(&format!("no {BUSYBOX}: run `cargo xtask setup`"));
    }
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 2 }).unwrap();
    let directory = |make: Make| lab.directory(make.program()).unwrap();
    let files: Vec<String> =
        SERVERS.iter().map(|(make, file, _)| directory(*make).join(file).display().to_string()).collect();
    let text = lab.installation.configuration(Topology::Bridge, Hook::Tc);
    let leases = format!("inventory:\n  leases: [{}]\n", files.join(", "));
    lab.installation.configure(&text.replace("inventory:\n", &leases)).unwrap();
    let entry = |vm: &Vm| {
        format!(
            "- {{namespace: {SHOP}, name: {0}, labels: {{vm: {0}}}, interfaces: [{{mac: \"{1}\"}}]}}\n",
            vm.name, vm.mac
        )
    };
    let vms: String = lab.vms.iter().map(entry).collect();
    fs::write(lab.installation.facts(), format!("virtualMachines:\n{vms}")).unwrap();
    let agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let [lent, seen] = lab.vms.as_slice() else { panic!("two VMs") };
    for vm in [lent, seen] {
        let selector = format!("vm={}", vm.name);
        let create = ["create", &vm.name, "-n", SHOP, "--listener", "80:8080", "--selector", &selector];
        lab.installation.lb(&create).unwrap();
    }
    let is_at = |vm: &Vm, address: Ipv4Addr| {
        let object = lab.installation.json(&["get", &vm.name, "--namespace", SHOP]).unwrap();
        object.pointer("/status/backends/0/address").is_some_and(|told| *told == address.to_string().as_str())
    };
    let script = lab.directory("client").unwrap().join("script");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for (make, _, last) in SERVERS {
        if !make.is_there() {
            skip(&format!("{} is not installed", make.program()));
            continue;
        }
        let terms = Terms { renew: 100, rebind: 150, end: 200 + u32::from(last) };
        let scope = Scope { interface: "eth0", first: address(last), last: address(last), terms };
        let server = Dhcp::start(make, lab.client(), &scope, &directory(make)).unwrap();
        borrow(&lent.namespace, &script);
        let found =
            wait::until(&format!("what {make:?} lends is found"), SOON, || is_at(lent, address(last)));
        found.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
        server.kill().unwrap();
    }
    let ping = ["ping", "-c", "1", "-w", "30", "192.0.2.1"];
    output(seen.namespace.command(BUSYBOX).args(ping)).unwrap();
    wait::until("a neighbour of the node is found", SOON, || is_at(seen, seen.address)).unwrap();
}
