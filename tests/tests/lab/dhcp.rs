//! Addresses from DHCP servers that people run, and traffic to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lb_tests::lab::agent::Agent;
use lb_tests::lab::client::http;
use lb_tests::lab::namespace::{Namespace, output};
use lb_tests::lab::server::dhcp::{Dhcp, Make, Scope};
use lb_tests::lab::server::http::Http;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::trunk::Trunk;
use lb_tests::lab::{Lab, SHOP, Spec, host as machine, wait};
use lb_tests::skip::skip;
use serde_json::Value;

/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// How long a request may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// The server is where the clients are.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);

fn is_long() -> bool {
    std::env::var_os("LB_LONG").is_some()
}

const fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

/// A lab with a DHCP server beside its clients. Fields are dropped in order: processes before the lab.
struct Scene {
    agent: Option<Agent>,
    server: Option<Dhcp>,
    _http: Http,
    make: Make,
    scope: Scope,
    lab: Lab,
}

impl Scene {
    /// With a server that has two addresses to lend; `None` where there is no such server.
    fn create(make: Make, hook: Hook, seconds: u32, more: &str) -> Option<Self> {
        if !make.is_there() {
            skip(&format!("{} is not installed", make.program()));
            return None;
        }
        let lab = Lab::create(Spec { topology: Topology::Bridge, hook, vms: 1 }).unwrap();
        let directory = lab.directory("servers").unwrap();
        let vm = &lab.vms[0];
        let http = Http::start(&vm.namespace, &vm.name, &directory, &directory).unwrap();
        let scope = Scope { interface: "eth0", first: host(200), last: host(201), seconds };
        let mut text = lab.installation.configuration(Topology::Bridge, hook);
        text += &format!("dhcp: {{probe: 300ms, longestPause: 1s{more}}}\n");
        lab.installation.configure(&text).unwrap();
        let mut scene = Self { agent: None, server: None, _http: http, make, scope, lab };
        scene.serve();
        scene.agent = Some(scene.lab.start_agent().unwrap());
        Some(scene)
    }

    fn serve(&mut self) {
        let directory = self.lab.directory("dhcp").unwrap();
        self.server = Some(Dhcp::start(self.make, self.lab.client(), &self.scope, &directory).unwrap());
    }

    fn silence(&mut self) {
        self.server.take().unwrap().kill().unwrap();
    }

    /// How many are awaited. dnsmasq asks for none before a minute is over.
    fn renewals(&self) -> u32 {
        if self.make == Make::Dnsmasq && !is_long() { 0 } else { 3 }
    }

    fn create_lb(&self, name: &str) {
        self.create_lb_in(name, &[]);
    }

    fn create_lb_in(&self, name: &str, more: &[&str]) {
        let arguments =
            ["create", name, "-n", SHOP, "--listener", "80:8080", "--selector", "app=web", "--ipam", "dhcp"];
        self.lab.installation.lb(&[&arguments[..], more].concat()).unwrap();
    }

    fn status(&self, name: &str) -> Value {
        let object = self.lab.installation.json(&["get", name, "-n", SHOP]).unwrap();
        object["status"].clone()
    }

    fn address(&self, name: &str) -> Option<Ipv4Addr> {
        self.status(name)["address"].as_str()?.parse().ok()
    }

    fn expiry(&self, name: &str) -> String {
        self.status(name)["lease"]["expirationTime"].as_str().unwrap_or_default().to_owned()
    }

    /// Everything that could explain a failure.
    fn explain(&self) -> String {
        let agent = self.agent.as_ref().map(Agent::log).unwrap_or_default();
        let server = self.server.as_ref().map(Dhcp::log).unwrap_or_default();
        format!("--- agent\n{agent}\n--- server\n{server}")
    }

    fn until(&self, what: &str, check: impl FnMut() -> bool) {
        wait::until(what, SOON, check).unwrap_or_else(|error| panic!("{error}\n{}", self.explain()));
    }

    /// Waits for its address.
    fn until_lent(&self, name: &str) -> Ipv4Addr {
        wait::until_some(&format!("{name} has an address"), SOON, || self.address(name))
            .unwrap_or_else(|error| panic!("{error}\n{}", self.explain()))
    }

    fn answers(&self, vip: Ipv4Addr) -> bool {
        let server = SocketAddr::from((vip, 80));
        let asked = http::ask_patiently(self.lab.client(), server, 1, PATIENCE).unwrap();
        asked.answers == BTreeMap::from([("vm1".to_owned(), 1)])
    }

    fn until_served(&self, vip: Ipv4Addr) {
        self.until(&format!("{vip} answers"), || self.answers(vip));
    }

    fn until_renewed(&self, name: &str) {
        let before = self.expiry(name);
        self.until(&format!("{name} is renewed"), || {
            let now = self.expiry(name);
            !now.is_empty() && now != before
        });
    }
}

/// What must go well with any server.
fn a_lease_lives(scene: &mut Scene) {
    scene.create_lb("front");
    scene.create_lb("back");
    let [front, back] = ["front", "back"].map(|name| scene.until_lent(name));
    assert_eq!(BTreeSet::from([front, back]), BTreeSet::from([host(200), host(201)]));
    for vip in [front, back] {
        scene.until_served(vip);
    }
    let status = scene.status("front");
    assert_eq!(status["allocatedAddress"]["ip"], "0.0.0.0");
    assert_eq!(status["lease"]["server"], SERVER.to_string());
    let described = scene.lab.installation.lb(&["describe", "front", "-n", SHOP]).unwrap();
    assert!(described.contains("by 192.0.2.50 on br0, until 2"), "{described}");

    for _ in 0..scene.renewals() {
        scene.until_renewed("front");
    }
    assert_eq!(scene.until_lent("front"), front);

    let expiry = scene.expiry("front");
    // The same address after the agent was killed; while a lease lasts, no client notices.
    let lasts = scene.make == Make::Dnsmasq;
    scene.agent.take().unwrap().kill().unwrap();
    assert!(!lasts || scene.answers(front));
    scene.agent = Some(scene.lab.start_agent().unwrap());
    assert!(!lasts || scene.answers(front));
    scene.until("the lease goes on", || scene.expiry("front") > expiry);
    assert_eq!(["front", "back"].map(|name| scene.until_lent(name)), [front, back]);
    scene.until_served(front);

    // Only what was given back can be lent to the next.
    scene.lab.installation.lb(&["delete", "back", "-n", SHOP]).unwrap();
    scene.create_lb("next");
    assert_eq!(scene.until_lent("next"), back);
    scene.until_served(back);
}

#[test]
fn dnsmasq_lends_addresses() {
    let Some(mut scene) = Scene::create(Make::Dnsmasq, Hook::Xdp, 2, "") else { return };
    a_lease_lives(&mut scene);
}

#[test]
fn c26_kea_lends_addresses_and_extends_them() {
    let Some(mut scene) = Scene::create(Make::Kea, Hook::Xdp, 6, "") else { return };
    a_lease_lives(&mut scene);
}

#[test]
fn isc_dhcpd_lends_addresses() {
    let Some(mut scene) = Scene::create(Make::Isc, Hook::Tc, 6, "") else { return };
    a_lease_lives(&mut scene);
}

#[test]
fn udhcpd_lends_addresses_to_derived_macs() {
    let Some(mut scene) = Scene::create(Make::Udhcpd, Hook::Xdp, 6, ", hardwareAddress: derived") else {
        return;
    };
    a_lease_lives(&mut scene);
}

#[test]
fn an_address_outlives_its_server_by_a_lease_and_comes_back_with_it() {
    let Some(mut scene) = Scene::create(Make::Isc, Hook::Xdp, 2, "") else { return };
    scene.create_lb("front");
    let front = scene.until_lent("front");
    scene.until_served(front);
    let silent = Instant::now();
    scene.silence();
    scene.until("the address is lost", || scene.address("front").is_none());
    let lease = Duration::from_secs(scene.scope.seconds.into());
    assert!(silent.elapsed() >= lease / 4, "it is used until its lease ends");
    scene.until("nobody answers there", || !scene.answers(front));
    let events = scene.lab.installation.lb(&["describe", "front", "-n", SHOP]).unwrap();
    let lent = format!("address {front}, lent by 192.0.2.50 on br0");
    for (kind, reason, message) in [
        ("Normal", "AddressAssigned", lent.as_str()),
        ("Warning", "AddressNotAssigned", "service is waiting for external IP"),
    ] {
        let is_told = |line: &str| line.contains(kind) && line.contains(reason) && line.contains(message);
        assert!(events.lines().any(is_told), "{events}");
    }
    let status = scene.status("front");
    let waiting = "service is waiting for external IP";
    assert!(status["conditions"].to_string().contains(waiting), "{status}");
    wait::until("ten leases are over", SOON, || silent.elapsed() > lease * 10).unwrap();
    scene.serve();
    let again = scene.until_lent("front");
    assert_eq!(again, front);
    scene.until_served(again);
}

/// Its own server does not hear the node any more when it is spoken to alone.
#[test]
fn a_lease_is_extended_at_t2_by_a_server_that_hears_only_broadcasts() {
    let Some(scene) = Scene::create(Make::Kea, Hook::Tc, 8, "") else { return };
    scene.create_lb("front");
    let front = scene.until_lent("front");
    let rules = scene.lab.directory("rules").unwrap().join("no-unicast.nft");
    let rule = "ip daddr 192.0.2.50 udp dport 67 counter drop";
    let hook = "type filter hook egress device \"br0\" priority 0";
    std::fs::write(&rules, format!("table netdev deaf {{\n chain out {{\n {hook};\n {rule}\n }}\n}}\n"))
        .unwrap();
    let nft = |arguments: &[&str]| output(scene.lab.node().command("nft").args(arguments)).unwrap();
    nft(&["-f", &rules.to_string_lossy()]);
    for _ in 0..2 {
        scene.until_renewed("front");
    }
    let dropped = nft(&["list", "table", "netdev", "deaf"]);
    assert!(!dropped.contains("packets 0 "), "it was not asked alone before: {dropped}");
    assert_eq!(scene.until_lent("front"), front);
    scene.until_served(front);
}

#[test]
fn an_address_that_somebody_uses_is_declined() {
    let Some(scene) = Scene::create(Make::Dnsmasq, Hook::Tc, 2, "") else { return };
    scene.lab.vms[0].namespace.ip(&["address", "add", "192.0.2.200/32", "dev", "eth0"]).unwrap();
    scene.create_lb("front");
    assert_eq!(scene.until_lent("front"), host(201));
    scene.until_served(host(201));
    let log = scene.server.as_ref().unwrap().log();
    assert!(log.contains("DHCPDECLINE(eth0) 192.0.2.200"), "{log}");
}

/// Renumbered, its server refuses the address; then another server takes over.
#[test]
fn a_refused_address_is_left_and_another_server_is_followed() {
    let Some(mut scene) = Scene::create(Make::Isc, Hook::Xdp, 4, "") else { return };
    scene.create_lb("front");
    let front = scene.until_lent("front");
    scene.until_served(front);
    scene.silence();
    scene.scope = Scope { first: host(210), last: host(211), ..scene.scope };
    let forgetful = scene.lab.directory("renumbered").unwrap();
    scene.server = Some(Dhcp::start(scene.make, scene.lab.client(), &scene.scope, &forgetful).unwrap());
    scene.until("it has another address", || scene.address("front").is_some_and(|now| now != front));
    let renumbered = scene.until_lent("front");
    assert!([host(210), host(211)].contains(&renumbered), "{renumbered}");
    scene.until_served(renumbered);
    assert!(!scene.answers(front));

    scene.silence();
    let other = Namespace::create(format!("{}other", scene.lab.id().prefix())).unwrap();
    scene.lab.add_uplink(&other, "eth0", "up1").unwrap();
    other.ip(&["address", "add", "192.0.2.51/24", "dev", "eth0"]).unwrap();
    let directory = scene.lab.directory("other").unwrap();
    scene.server = Some(Dhcp::start(scene.make, &other, &scene.scope, &directory).unwrap());
    scene.until("the other server lends", || scene.status("front")["lease"]["server"] == "192.0.2.51");
    scene.until_served(scene.until_lent("front"));
}

#[test]
fn an_address_of_a_vlan_is_asked_for_and_answered_in_it() {
    let networks = ", networks: {lab/vlan7: {interface: up0, vlan: 7}}";
    for hook in [Hook::Xdp, Hook::Tc] {
        let Some(mut scene) = Scene::create(Make::Dnsmasq, hook, 2, networks) else { return };
        scene.silence();
        let lan = Namespace::create(format!("{}lan", scene.lab.id().prefix())).unwrap();
        let client = scene.lab.client();
        let veth = ["link", "add", "eth0", "type", "veth", "peer", "name", "lan0", "netns", client.name()];
        lan.ip(&veth).unwrap();
        for (end, interface) in [(&lan, "eth0"), (client, "lan0")] {
            end.ip(&["link", "set", interface, "up"]).unwrap();
        }
        machine::set_offloads(&lan, "eth0", false).unwrap();
        lan.ip(&["address", "add", "198.51.100.50/24", "dev", "eth0"]).unwrap();
        let _trunk = Trunk::start(client, "eth0", 7, "lan0").unwrap();
        let [first, last] = [200, 201].map(|number| Ipv4Addr::new(198, 51, 100, number));
        scene.scope = Scope { first, last, ..scene.scope };
        let directory = scene.lab.directory("lan").unwrap();
        scene.server = Some(Dhcp::start(scene.make, &lan, &scene.scope, &directory).unwrap());
        scene.create_lb_in("front", &["--network", "lab/vlan7"]);
        assert_eq!(scene.until_lent("front"), first);
        assert_eq!(scene.status("front")["lease"]["vlan"], 7);
        // Nobody listens on this port, and the VIP says so, in the VLAN.
        let closed = SocketAddr::from((first, 81));
        let dial = || lan.enter(|| TcpStream::connect_timeout(&closed, PATIENCE)).unwrap();
        scene.until("the VIP answers in its VLAN", || {
            dial().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
        scene.lab.installation.lb(&["delete", "front", "-n", SHOP]).unwrap();
        scene.create_lb_in("front", &["--network", "lab/other"]);
        scene.until("the network is not known", || {
            scene.status("front")["lease"]["message"]
                .as_str()
                .is_some_and(|text| text.contains("dhcp.networks"))
        });
    }
}
