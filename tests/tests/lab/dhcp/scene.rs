//! A lab with a DHCP server beside its clients.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lb_tests::lab::agent::Agent;
use lb_tests::lab::client::http;
use lb_tests::lab::namespace::Namespace;
use lb_tests::lab::server::dhcp::{Dhcp, Make, Scope, Terms};
use lb_tests::lab::server::http::Http;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, wait};
use serde_json::Value;

/// How long anything may take on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// How long a request may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// Each look starts a process; leases are longer.
const LOOK: Duration = Duration::from_millis(250);
/// The server is where the clients are.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// The server's interface.
pub(super) const INTERFACE: &str = "eth0";

/// Extended soon, and often, but nothing ends before it is extended, however busy the machine.
pub(super) const OFTEN: Terms = Terms { renew: 3, rebind: 4, end: 120 };
/// What is not extended ends soon.
pub(super) const SHORT: Terms = Terms { end: 8, ..OFTEN };

/// An address of the network.
pub(super) const fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

/// Fields are dropped in order: processes before the lab.
pub(super) struct Scene {
    pub(super) agent: Option<Agent>,
    pub(super) server: Option<Dhcp>,
    _http: Http,
    make: Make,
    pub(super) scope: Scope,
    pub(super) lab: Lab,
}

impl Scene {
    /// With a server that has two addresses to lend. Each make is tried at one of the hooks.
    pub(super) fn create(make: Make, terms: Terms, more: &str) -> Self {
        let hook = match make {
            Make::Kea | Make::Udhcpd => Hook::Xdp,
            Make::Dnsmasq | Make::Isc => Hook::Tc,
        };
        let lab = Lab::create(Spec { topology: Topology::Bridge, hook, vms: 1 }).unwrap();
        let directory = lab.directory("servers").unwrap();
        let vm = &lab.vms[0];
        let http = Http::start(&vm.namespace, &vm.name, &directory, &directory).unwrap();
        let scope = Scope { interface: INTERFACE, first: host(200), last: host(201), terms };
        let mut text = lab.installation.configuration(Topology::Bridge, hook);
        text += &format!("dhcp: {{probe: 300ms, longestPause: 1s{more}}}\n");
        lab.installation.configure(&text).unwrap();
        let mut scene = Self { agent: None, server: None, _http: http, make, scope, lab };
        scene.serve();
        scene.agent = Some(scene.lab.start_agent().unwrap());
        scene
    }

    /// Starts the server, with what it lent from this scope before.
    pub(super) fn serve(&mut self) {
        let server = self.lab.client().clone();
        self.serve_at(&server, "dhcp");
    }

    /// As [`Scene::serve`], elsewhere, with what it lent when it was called `name`.
    pub(super) fn serve_at(&mut self, server: &Namespace, name: &str) {
        let directory = self.lab.directory(name).unwrap();
        self.server = Some(Dhcp::start(self.make, server, &self.scope, &directory).unwrap());
    }

    pub(super) fn silence(&mut self) {
        self.server.take().unwrap().kill().unwrap();
    }

    pub(super) fn kill_agent(&mut self) {
        self.agent.take().unwrap().kill().unwrap();
    }

    pub(super) fn start_agent(&mut self) {
        self.agent = Some(self.lab.start_agent().unwrap());
    }

    pub(super) fn create_lb(&self, name: &str) {
        self.create_lb_in(name, &[]);
    }

    pub(super) fn create_lb_in(&self, name: &str, more: &[&str]) {
        let arguments =
            ["create", name, "-n", SHOP, "--listener", "80:8080", "--selector", "app=web", "--ipam", "dhcp"];
        self.lab.installation.lb(&[&arguments[..], more].concat()).unwrap();
    }

    pub(super) fn delete_lb(&self, name: &str) {
        self.lab.installation.lb(&["delete", name, "-n", SHOP]).unwrap();
    }

    pub(super) fn status(&self, name: &str) -> Value {
        let object = self.lab.installation.json(&["get", name, "-n", SHOP]).unwrap();
        object["status"].clone()
    }

    pub(super) fn address(&self, name: &str) -> Option<Ipv4Addr> {
        self.status(name)["address"].as_str()?.parse().ok()
    }

    pub(super) fn expiry(&self, name: &str) -> String {
        self.status(name)["lease"]["expirationTime"].as_str().unwrap_or_default().to_owned()
    }

    /// What is wrong with its lease.
    pub(super) fn message(&self, name: &str) -> String {
        self.status(name)["lease"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// How often the agent has said that an address was lost for this reason.
    pub(super) fn losses(&self, reason: &str) -> usize {
        let log = self.agent.as_ref().map(Agent::log).unwrap_or_default();
        log.lines().filter(|line| line.contains("the address is lost: ") && line.contains(reason)).count()
    }

    /// Everything that could explain a failure.
    fn explain(&self) -> String {
        let agent = self.agent.as_ref().map(Agent::log).unwrap_or_default();
        let server = self.server.as_ref().map(Dhcp::log).unwrap_or_default();
        format!("--- agent\n{agent}\n--- {:?}\n{server}", self.make)
    }

    pub(super) fn until(&self, what: &str, mut check: impl FnMut() -> bool) {
        self.until_some(what, || check().then_some(()));
    }

    pub(super) fn until_some<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> T {
        wait::until_some_at(LOOK, what, SOON, check)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.explain()))
    }

    /// Waits for its address.
    pub(super) fn until_lent(&self, name: &str) -> Ipv4Addr {
        self.until_some(&format!("{name} has an address"), || self.address(name))
    }

    pub(super) fn answers(&self, vip: Ipv4Addr) -> bool {
        self.answers_within(vip, PATIENCE)
    }

    pub(super) fn answers_within(&self, vip: Ipv4Addr, patience: Duration) -> bool {
        let server = SocketAddr::from((vip, 80));
        let asked = http::ask_patiently(self.lab.client(), server, 1, patience).unwrap();
        asked.answers == BTreeMap::from([("vm1".to_owned(), 1)])
    }

    pub(super) fn until_served(&self, vip: Ipv4Addr) {
        self.until(&format!("{vip} answers"), || self.answers(vip));
    }

    pub(super) fn until_renewed(&self, name: &str) {
        let before = self.expiry(name);
        self.until(&format!("{name} is renewed"), || {
            let now = self.expiry(name);
            !now.is_empty() && now != before
        });
    }
}
