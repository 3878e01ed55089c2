//! What is known before the first check.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::config::{self, Config};
use crate::control::ports;
use crate::control::report::{BackendsReport, NodeReport};
use crate::datapath::kernel::survey::{Place, Survey, survey};
use crate::datapath::port::{Hook, Role};
use crate::inventory::links::{LinkKind, Topology};

/// Configuration, interfaces, what a running agent tells, what is pinned.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ground {
    /// Where the store is.
    pub state_directory: PathBuf,
    /// Where maps and programs are pinned.
    pub pin_directory: PathBuf,
    /// The configuration file.
    pub config_file: PathBuf,
    /// Entries of the flow table.
    pub flow_entries: u32,
    /// Why the configuration can't be used.
    pub config_problem: Option<String>,
    /// The agent's reports; `None` while none answers.
    pub agent: Option<(NodeReport, BackendsReport)>,
    /// Why the agent's reports are not there.
    pub silence: String,
    /// Configured interfaces that are not there.
    pub missing: Vec<String>,
    /// Interfaces that are, or would be, served.
    pub interfaces: Vec<Interface>,
    /// Pins and programs.
    pub survey: Survey,
    /// Why they can't be looked at.
    pub survey_problem: Option<String>,
}

/// An interface that is, or would be, served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Interface index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// What it is to the load balancer.
    pub role: Role,
    /// What it is.
    pub kind: LinkKind,
    /// The hook that is configured.
    pub wanted: config::Hook,
    /// The hook in use, or the one that an agent would choose; `None` if it was refused.
    pub hook: Option<Hook>,
    /// An agent has attached the programs by this hook.
    pub is_attached: bool,
    /// Why this hook, as the agent says.
    pub reason: String,
    /// Switched on.
    pub up: bool,
    /// Bytes.
    pub mtu: u32,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
    /// A device of software.
    pub is_virtual: bool,
}

impl Interface {
    /// Faces a network, not a single VM.
    pub fn faces_network(&self) -> bool {
        self.role != Role::VmPort
    }

    /// Packets meet XDP in the driver, or are meant to.
    pub fn is_native_xdp(&self) -> bool {
        self.hook == Some(Hook::Xdp) || (self.hook.is_none() && self.wanted == config::Hook::Xdp)
    }
}

impl Ground {
    /// Gathers what is known. `agent`: its reports, or why there are none.
    pub fn gather(
        (config_file, config): (PathBuf, Result<Config, String>),
        topology: &Topology,
        agent: Result<(NodeReport, BackendsReport), String>,
    ) -> Self {
        let (agent, silence) = match agent {
            Ok(reports) => (Some(reports), String::new()),
            Err(silence) => (None, silence),
        };
        let mut ground = Self { config_file, agent, silence, ..Self::default() };
        match config {
            Ok(config) => ground.configured(&config, topology),
            Err(problem) => ground.config_problem = Some(problem),
        }
        ground
    }

    fn configured(&mut self, config: &Config, topology: &Topology) {
        self.state_directory.clone_from(&config.state_directory);
        self.pin_directory.clone_from(&config.pin_directory);
        self.flow_entries = config.datapath.flow_entries;
        let assignment = ports::assign(topology, &config.interfaces);
        self.missing = assignment.problems.iter().map(ToString::to_string).collect();
        let reports: BTreeMap<&str, _> = self
            .agent
            .iter()
            .flat_map(|(node, _)| node.interfaces.iter())
            .map(|report| (report.name.as_str(), report))
            .collect();
        let mut interfaces = Vec::new();
        for port in assignment.ports.values() {
            let Some(link) = topology.links.get(&port.ifindex) else { continue };
            let report = reports.get(port.name.as_str());
            interfaces.push(Interface {
                ifindex: port.ifindex,
                name: port.name.clone(),
                role: port.role,
                kind: link.kind,
                wanted: port.hook,
                hook: match report {
                    Some(report) => Hook::named(&report.hook),
                    None => Some(likely(port.role, port.hook, port.is_virtual)),
                },
                is_attached: report.is_some_and(|report| !report.hook.is_empty()),
                reason: report.map(|report| report.reason.clone()).unwrap_or_default(),
                up: link.up,
                mtu: link.mtu,
                bridge: topology.bridge_of(link).map(|bridge| bridge.name.clone()),
                is_virtual: port.is_virtual,
            });
        }
        let places: Vec<Place> = assignment
            .ports
            .values()
            .map(|port| Place { interface: port.name.clone(), xdp_program: port.xdp_program })
            .collect();
        match survey(&config.pin_directory, &places) {
            Ok(survey) => self.survey = survey,
            Err(error) => self.survey_problem = Some(error.to_string()),
        }
        self.interfaces = interfaces;
    }

    /// The VIPs that the agent serves.
    pub fn vips(&self) -> BTreeSet<IpAddr> {
        let balancers = self.agent.iter().flat_map(|(_, backends)| backends.load_balancers.iter());
        balancers.filter_map(|balancer| balancer.address.parse().ok()).collect()
    }

    /// The addresses of the backends that the agent serves.
    pub fn backends(&self) -> BTreeSet<IpAddr> {
        let balancers = self.agent.iter().flat_map(|(_, backends)| backends.load_balancers.iter());
        let listeners = balancers.flat_map(|balancer| balancer.listeners.iter());
        let backends = listeners.flat_map(|listener| listener.backends.iter());
        let address = |text: &str| text.parse::<SocketAddr>().map(|address| address.ip()).ok();
        backends.filter_map(|backend| address(&backend.address)).collect()
    }

    /// Whether packets are routed between interfaces.
    pub fn routes(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.role == Role::Routed)
    }
}

/// The hook that an agent would choose first.
fn likely(role: Role, wanted: config::Hook, is_virtual: bool) -> Hook {
    match (role, wanted) {
        (Role::VmPort, _) | (_, config::Hook::Tc) => Hook::Tc,
        (_, config::Hook::Auto) if is_virtual => Hook::Tc,
        (_, config::Hook::Auto | config::Hook::Xdp) => Hook::Xdp,
        (_, config::Hook::XdpGeneric) => Hook::XdpGeneric,
    }
}
