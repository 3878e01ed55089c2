//! Addresses from DHCP servers that people run, and traffic to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lb_tests::lab::agent::Agent;
use lb_tests::lab::client::http;
use lb_tests::lab::server::dhcp::{Dhcp, Make, Scope};
use lb_tests::lab::server::http::Http;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, wait};
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
        let scope = Scope { server: SERVER, first: host(200), last: host(201), seconds };
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
        let arguments =
            ["create", name, "-n", SHOP, "--listener", "80:8080", "--selector", "app=web", "--ipam", "dhcp"];
        self.lab.installation.lb(&arguments).unwrap();
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

/// The server is gone for as long as ten leases, and comes back.
fn an_address_outlives_its_server_by_a_lease(scene: &mut Scene) {
    let front = scene.address("front").unwrap();
    let before = std::time::Instant::now();
    scene.silence();
    scene.until("the address is lost", || scene.address("front").is_none());
    let lease = Duration::from_secs(scene.scope.seconds.into());
    assert!(before.elapsed() >= lease / 4, "it is used until its lease ends");
    scene.until("nobody answers there", || !scene.answers(front));
    let ready = scene.status("front")["conditions"].to_string();
    assert!(ready.contains("service is waiting for external IP"), "{ready}");
    let gone = lease * 10;
    wait::until("ten leases are over", SOON, || before.elapsed() > gone).unwrap();
    scene.serve();
    scene.until_lent("front");
    let again = scene.address("front").unwrap();
    scene.until_served(again);
}

#[test]
fn dnsmasq_lends_addresses() {
    let Some(mut scene) = Scene::create(Make::Dnsmasq, Hook::Xdp, 2, "") else { return };
    a_lease_lives(&mut scene);
}

#[test]
fn kea_lends_addresses_and_is_gone_for_a_while() {
    let Some(mut scene) = Scene::create(Make::Kea, Hook::Xdp, 4, "") else { return };
    a_lease_lives(&mut scene);
}

#[test]
fn isc_dhcpd_lends_addresses_and_is_gone_for_a_while() {
    let Some(mut scene) = Scene::create(Make::Isc, Hook::Tc, 2, "") else { return };
    a_lease_lives(&mut scene);
    an_address_outlives_its_server_by_a_lease(&mut scene);
}

#[test]
fn udhcpd_lends_addresses_to_derived_macs() {
    let Some(mut scene) = Scene::create(Make::Udhcpd, Hook::Tc, 4, ", hardwareAddress: derived") else {
        return;
    };
    a_lease_lives(&mut scene);
}
