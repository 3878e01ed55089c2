//! Labs that tests share: one for each topology and hook, made when the first test needs it. A test has its
//! lab for itself while it runs, and leaves it as it was; the lab of a test that failed is made anew.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use lb_tests::lab::agent::Agent;
use lb_tests::lab::client::http::{self, Tally};
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::process::Process;
use lb_tests::lab::server::http::Http;
use lb_tests::lab::server::{dns, echo, iperf};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, Vm, wait};
use serde_json::Value;

/// How many VMs a shared lab has.
pub(crate) const VMS: u8 = 3;

/// How long a change of facts or objects may take to show in the datapath, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A lab at work. Fields are dropped in order: processes before the lab that they run in.
pub(crate) struct Fixture {
    pub(crate) agent: Option<Agent>,
    pub(crate) http: BTreeMap<String, Http>,
    _echo: Vec<echo::Echo>,
    _processes: Vec<Process>,
    /// The VIP of the load balancer `front`, which has a listener for each kind of server.
    pub(crate) vip: Ipv4Addr,
    /// The VIP of `front6`, which has the same listeners, once a story of IPv6 has been told.
    vip_v6: Option<Ipv6Addr>,
    /// That of the story that is told.
    family: Family,
    pub(crate) lab: Lab,
}

impl Fixture {
    /// Makes a lab with servers in all VMs and a load balancer over them.
    pub(crate) fn create(spec: Spec) -> Self {
        let lab = Lab::create(spec).unwrap();
        let directory = lab.directory("servers").unwrap();
        let mut http = BTreeMap::new();
        let (mut echoes, mut processes) = (Vec::new(), Vec::new());
        for vm in &lab.vms {
            http.insert(vm.name.clone(), start_http(&lab, vm));
            echoes.push(echo::Echo::start(&vm.namespace, &vm.name).unwrap());
            processes.push(iperf::start(&vm.namespace, &vm.name, &directory).unwrap());
            processes.push(dns::start(&vm.namespace, &vm.name, &directory).unwrap());
        }
        let agent = Some(lab.start_agent().unwrap());
        lab.create_pool().unwrap();
        let vip = lab.create_lb("front", &listeners()).unwrap();
        until_found(&lab, "front");
        let family = Family::V4;
        Self { agent, http, _echo: echoes, _processes: processes, vip, vip_v6: None, family, lab }
    }

    /// Makes this the family of the VIP that clients dial.
    fn speak(&mut self, family: Family) {
        if family == Family::V6 && self.vip_v6.is_none() {
            self.lab.create_pool_v6().unwrap();
            self.vip_v6 = Some(self.lab.create_lb_v6("front6", &listeners()).unwrap());
            until_found(&self.lab, "front6");
        }
        self.family = family;
    }

    /// The family of the VIP that clients dial.
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// The load balancer whose VIP clients dial.
    pub(crate) fn front(&self) -> &'static str {
        match self.family {
            Family::V4 => "front",
            Family::V6 => "front6",
        }
    }

    /// The VIP that clients dial.
    pub(crate) fn address(&self) -> IpAddr {
        match (self.family, self.vip_v6) {
            (Family::V6, Some(vip)) => vip.into(),
            _ => self.vip.into(),
        }
    }

    /// The VIP with a port.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.address(), port))
    }

    /// Creates a load balancer with a VIP of this story's family.
    pub(crate) fn create_lb(&self, name: &str, arguments: &[&str]) -> IpAddr {
        match self.family {
            Family::V4 => self.lab.create_lb(name, arguments).unwrap().into(),
            Family::V6 => self.lab.create_lb_v6(name, arguments).unwrap().into(),
        }
    }

    /// Asks the web listener `count` times; all must be answered.
    pub(crate) fn ask(&self, count: u32) -> BTreeMap<String, u32> {
        self.tally(count).answers()
    }

    /// Asks the web listener `count` times.
    pub(crate) fn tally(&self, count: u32) -> Tally {
        http::ask_often(self.lab.client(), self.at(80), count).unwrap()
    }

    /// Waits until exactly these VMs answer web requests, and none fails.
    pub(crate) fn until_answered_by(&self, vip: impl Into<IpAddr>, vms: &[&str]) {
        /// The chance that one of three VMs answers none of so many is 10^-10.
        const ENOUGH: u32 = 60;
        let server = SocketAddr::from((vip.into(), 80));
        /// A request to an address that nobody has any more is given up soon.
        const PATIENCE: Duration = Duration::from_millis(500);
        let mut last = Tally::default();
        let settled = wait::until("these VMs answer, and no other", SOON, || {
            last = http::ask_patiently(self.lab.client(), server, ENOUGH, PATIENCE).unwrap();
            last.failures.is_empty() && last.answers.keys().eq(vms)
        });
        settled.unwrap_or_else(|error| panic!("{error}: expected {vms:?}, seen {last:?}"));
    }

    /// Creates a load balancer with a health check that fails after two seconds or so.
    pub(crate) fn create_checked_lb(&self, name: &str, more: &[&str]) -> IpAddr {
        let checked = [
            "--listener",
            "web:80:8080/tcp",
            "--health-check",
            "8080",
            "--health-failure",
            "2",
            "--health-period",
            "1",
            "--health-timeout",
            "1",
        ];
        self.create_lb(name, &[&checked[..], more].concat())
    }

    /// How often the packet programs have named this reason.
    pub(crate) fn reason(&self, name: &str) -> u64 {
        let status = self.lab.installation.json(&["status"]).unwrap();
        status["reasons"][name].as_u64().unwrap_or_else(|| panic!("no reason {name}: {}", status["reasons"]))
    }

    /// Deletes a load balancer in the shop.
    pub(crate) fn delete_lb(&self, name: &str) {
        self.lab.installation.lb(&["delete", name, "--namespace", SHOP]).unwrap();
    }
}

/// One for each kind of server.
fn listeners() -> Vec<&'static str> {
    let listeners = ["web:80:8080/tcp", "dns:53/udp", "echo:7/tcp", "echo-udp:7/udp"];
    listeners.into_iter().flat_map(|listener| ["--listener", listener]).collect()
}

/// Until its neighbour is resolved, a VM is masqueraded to, wherever it is.
fn until_found(lab: &Lab, name: &str) {
    let mode = if lab.spec.topology == Topology::Stick { "Masquerade" } else { "Preserve" };
    wait::until("the agent has found all VMs", SOON, || modes(lab, name).iter().all(|each| each == mode))
        .unwrap();
}

/// How packets reach the backends of a load balancer.
fn modes(lab: &Lab, name: &str) -> Vec<String> {
    let report = lab.installation.json(&["backend", "list", name, "--namespace", SHOP]).unwrap();
    let listeners = report.pointer("/loadBalancers/0/listeners").and_then(Value::as_array).unwrap();
    let backends = listeners.iter().flat_map(|listener| listener["backends"].as_array().unwrap());
    backends.map(|backend| backend["mode"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Starts a VM's nginx.
pub(crate) fn start_http(lab: &Lab, vm: &Vm) -> Http {
    Http::start(&vm.namespace, &vm.name, &lab.directory("servers").unwrap(), &lab.directory("files").unwrap())
        .unwrap()
}

/// A shared lab, for one test at a time.
pub(crate) struct Shared(Mutex<Option<Fixture>>);

impl Shared {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Takes the lab for a story of a family, making it if need be.
    pub(crate) fn take(&'static self, topology: Topology, hook: Hook, family: Family) -> Guard {
        let mut guard = self.0.lock().unwrap_or_else(|poisoned| {
            self.0.clear_poison();
            let mut guard = poisoned.into_inner();
            // A test failed halfway: what it left is not what the next one expects.
            *guard = None;
            guard
        });
        guard.get_or_insert_with(|| Fixture::create(Spec { topology, hook, vms: VMS })).speak(family);
        Guard(guard)
    }
}

/// The lab while a test has it.
pub(crate) struct Guard(MutexGuard<'static, Option<Fixture>>);

impl std::ops::Deref for Guard {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        self.0.as_ref().unwrap()
    }
}

impl std::ops::DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Fixture {
        self.0.as_mut().unwrap()
    }
}

/// Makes tests of stories: each story, a `fn(&mut Fixture)`, is told in every topology and on both hooks. The
/// names sort so that neighbours are in different labs, which lets them run side by side.
macro_rules! everywhere {
    ($($story:ident),+ $(,)?) => {
        $(
            mod $story {
                $crate::fixture::everywhere!(@lab $story bridge_tc, BRIDGE_TC, Bridge, Tc);
                $crate::fixture::everywhere!(@lab $story bridge_xdp, BRIDGE_XDP, Bridge, Xdp);
                $crate::fixture::everywhere!(@lab $story router_tc, ROUTER_TC, Router, Tc);
                $crate::fixture::everywhere!(@lab $story router_xdp, ROUTER_XDP, Router, Xdp);
                $crate::fixture::everywhere!(@lab $story stick_tc, STICK_TC, Stick, Tc);
                $crate::fixture::everywhere!(@lab $story stick_xdp, STICK_XDP, Stick, Xdp);
            }
        )+
    };
    (@lab $story:ident $name:ident, $lab:ident, $topology:ident, $hook:ident) => {
        #[test]
        fn $name() {
            use lb_tests::lab::ipv6::Family;
            use lb_tests::lab::topology::{Hook, Topology};
            super::$story(&mut $crate::fixture::$lab.take(Topology::$topology, Hook::$hook, Family::V4));
        }
    };
}

pub(crate) use everywhere;

/// Tells stories of [`everywhere`] with VIPs of IPv6, each in the labs that are named with it. What the labs
/// left out would show, the stories of IPv4 do: hooks and topologies are the same code for both.
macro_rules! in_ipv6 {
    ($($story:ident: [$($place:ident),+]),+ $(,)?) => {
        mod ipv6 {
            $(
                mod $story {
                    $($crate::fixture::in_ipv6!(@lab $story $place);)+
                }
            )+
        }
    };
    (@lab $story:ident bridge_tc) => {
        $crate::fixture::in_ipv6!(@test $story bridge_tc, BRIDGE_TC, Bridge, Tc);
    };
    (@lab $story:ident bridge_xdp) => {
        $crate::fixture::in_ipv6!(@test $story bridge_xdp, BRIDGE_XDP, Bridge, Xdp);
    };
    (@lab $story:ident router_tc) => {
        $crate::fixture::in_ipv6!(@test $story router_tc, ROUTER_TC, Router, Tc);
    };
    (@lab $story:ident router_xdp) => {
        $crate::fixture::in_ipv6!(@test $story router_xdp, ROUTER_XDP, Router, Xdp);
    };
    (@lab $story:ident stick_xdp) => {
        $crate::fixture::in_ipv6!(@test $story stick_xdp, STICK_XDP, Stick, Xdp);
    };
    (@test $story:ident $name:ident, $lab:ident, $topology:ident, $hook:ident) => {
        #[test]
        fn $name() {
            use lb_tests::lab::ipv6::Family;
            use lb_tests::lab::topology::{Hook, Topology};
            super::super::$story(
                &mut $crate::fixture::$lab.take(Topology::$topology, Hook::$hook, Family::V6),
            );
        }
    };
}

pub(crate) use in_ipv6;

pub(crate) static BRIDGE_TC: Shared = Shared::new();
pub(crate) static BRIDGE_XDP: Shared = Shared::new();
pub(crate) static ROUTER_TC: Shared = Shared::new();
pub(crate) static ROUTER_XDP: Shared = Shared::new();
pub(crate) static STICK_TC: Shared = Shared::new();
pub(crate) static STICK_XDP: Shared = Shared::new();
