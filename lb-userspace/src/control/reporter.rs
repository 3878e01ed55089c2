//! What the loop tells when it is asked: its own state, and the counters of the datapath.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::cycle::{Cycle, Facts, listener_addresses};
use super::desired::{health_of, own};
use super::placement::place;
use super::report::{
    BackendReport, BackendsReport, Counters, FailureReport, FlowReport, InterfaceReport, InventoryReport,
    ListenerReport, LoadBalancerReport, NodeReport, ProcessReport, Report, Request, TableReport,
};
use super::select::Member;
use super::services::Service;
use crate::datapath::Datapath;
use crate::datapath::counters;
use crate::datapath::flows::model::{BackendRef, Occupancy};
use crate::datapath::model::{
    BackendEntry, BackendId, BackendState, ListenerAddress, ListenerIndex, Observed,
};
use crate::datapath::port::Served;
use crate::datapath::processes::Processes;
use crate::health::model::{Reason, Target};
use crate::model::check::{CheckedListener, Port};

/// What does not come from the facts.
#[derive(Clone, Debug)]
pub struct About {
    /// This node's name.
    pub node: String,
    /// When the agent started.
    pub started: Instant,
    /// Where resources are stored.
    pub store: String,
    /// The kind of inventory: `file` or `none`.
    pub provider: &'static str,
    /// Where its facts come from.
    pub inventory: String,
    /// Why it can't be read now.
    pub inventory_problem: Option<String>,
    /// Whether the node's own processes are served.
    pub processes: Processes,
}

/// Answers a request. What can't be read is left out and named among the failures.
pub(super) fn answer<D: Datapath>(request: Request, cycle: &mut Cycle<D>, facts: &Facts, about: &About) {
    // An asker that has gone away misses nothing.
    match request {
        Request::Node(asker) => drop(asker.send(node(cycle, facts, about))),
        Request::All(asker) => drop(asker.send(report(cycle, facts, about))),
    }
}

fn node<D: Datapath>(cycle: &mut Cycle<D>, facts: &Facts, about: &About) -> NodeReport {
    // Those of the node are read whatever is observed.
    let counters = cycle.converger.datapath().counters(&Observed::default());
    node_report(cycle, facts, about, counters.as_ref().map_err(ToString::to_string))
}

fn node_report<D: Datapath>(
    cycle: &Cycle<D>,
    facts: &Facts,
    about: &About,
    counters: Result<&counters::Counters, String>,
) -> NodeReport {
    let mut node = NodeReport {
        node: about.node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        abi_version: lb_common::map::ABI_VERSION,
        uptime_seconds: about.started.elapsed().as_secs(),
        store: about.store.clone(),
        inventory: inventory(facts, about),
        interfaces: interfaces(&cycle.served_ports),
        node_processes: node_processes(&about.processes),
        failures: failures(cycle),
        ..NodeReport::default()
    };
    match counters {
        Ok(counters::Counters { flows, reasons, .. }) => {
            node.flows = FlowReport { ipv4: table_report(&flows.v4), ipv6: table_report(&flows.v6) };
            node.reasons = reasons.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect();
        }
        Err(error) => {
            let command = "read counters".to_owned();
            node.failures.push(FailureReport { command, error, attempts: 1 });
        }
    }
    node
}

fn report<D: Datapath>(cycle: &mut Cycle<D>, facts: &Facts, about: &About) -> Report {
    let read = read(cycle);
    let counters = read.as_ref().map(|(_, counters)| counters).map_err(Clone::clone);
    let node = node_report(cycle, facts, about, counters);
    let (observed, counters) = read.unwrap_or_default();
    let view = View {
        facts,
        ports: &cycle.served_ports,
        observed: &observed,
        living: living(&observed),
        counters: &counters,
        live_flows: live_flows_of_all(&observed, &counters),
    };
    let load_balancers = cycle.services.values().map(|service| view.load_balancer(service)).collect();
    Report { node, backends: BackendsReport { load_balancers } }
}

fn table_report(table: &Occupancy) -> TableReport {
    TableReport {
        entries: table.capacity.into(),
        used: table.entries.into(),
        live: table.live.into(),
        overflowed: table.overflowed.into(),
        overflow_entries: table.overflow_capacity.into(),
    }
}

fn read<D: Datapath>(cycle: &mut Cycle<D>) -> Result<(Observed, counters::Counters), String> {
    let observed = cycle.converger.observed().map_err(|error| error.to_string())?;
    let counters = cycle.converger.datapath().counters(&observed).map_err(|error| error.to_string())?;
    Ok((observed, counters))
}

fn inventory(facts: &Facts, about: &About) -> InventoryReport {
    InventoryReport {
        provider: about.provider.to_owned(),
        source: about.inventory.clone(),
        virtual_machines: facts.virtual_machines.as_ref().map_or(0, |vms| vms.len()),
        error: about.inventory_problem.clone(),
    }
}

fn interfaces(served: &Served) -> Vec<InterfaceReport> {
    let attached = served.attached.values().map(|port| InterfaceReport {
        name: port.name.clone(),
        role: port.role.name().to_owned(),
        hook: port.hook.name().to_owned(),
        reason: port.reason.clone(),
    });
    let refused = served.refused.iter().map(|port| InterfaceReport {
        name: port.name.clone(),
        role: port.role.name().to_owned(),
        hook: String::new(),
        reason: port.reason.clone(),
    });
    attached.chain(refused).collect()
}

fn node_processes(processes: &Processes) -> ProcessReport {
    match processes {
        Processes::Served { cgroup } => {
            ProcessReport { cgroup: cgroup.display().to_string(), ..ProcessReport::default() }
        }
        Processes::NotServed { reason } => ProcessReport { cgroup: String::new(), reason: reason.clone() },
    }
}

fn failures<D: Datapath>(cycle: &Cycle<D>) -> Vec<FailureReport> {
    let failure = cycle.converger.failure().map(|failure| FailureReport {
        command: failure.action.clone(),
        error: failure.error.clone(),
        attempts: failure.attempts,
    });
    let problems = cycle.problems().iter().map(|problem| FailureReport {
        command: "serve the configured interfaces".to_owned(),
        error: problem.to_string(),
        attempts: 1,
    });
    let left_out = Some(cycle.converger.left_out()).filter(|count| *count > 0).map(|count| FailureReport {
        command: format!("place {count} listeners or backends"),
        error: "the maps are full; raise datapath.maxListeners or datapath.maxBackends".to_owned(),
        attempts: 1,
    });
    failure.into_iter().chain(problems).chain(left_out).collect()
}

struct View<'a> {
    facts: &'a Facts,
    ports: &'a Served,
    observed: &'a Observed,
    /// Backends that are not dead, by listener and address: a hundred thousand members each look one up.
    living: BTreeMap<(ListenerIndex, SocketAddr), BackendId>,
    counters: &'a counters::Counters,
    /// By listener.
    live_flows: BTreeMap<ListenerIndex, u64>,
}

fn living(observed: &Observed) -> BTreeMap<(ListenerIndex, SocketAddr), BackendId> {
    let mut living = BTreeMap::new();
    for (&id, backend) in observed.backends.iter().filter(|(_, b)| b.state != BackendState::Dead) {
        living.entry((backend.listener, backend.address)).or_insert(id);
    }
    living
}

/// Those of a backend.
fn live_flows(counters: &counters::Counters, id: BackendId, entry: &BackendEntry) -> u64 {
    counters.flows.of(BackendRef::new(id.0, entry.generation)).live().into()
}

/// Those of each listener: of backends that are leaving, too.
fn live_flows_of_all(observed: &Observed, counters: &counters::Counters) -> BTreeMap<ListenerIndex, u64> {
    let mut all = BTreeMap::new();
    for (id, entry) in observed.backends.iter().filter(|(_, entry)| entry.state != BackendState::Dead) {
        *all.entry(entry.listener).or_default() += live_flows(counters, *id, entry);
    }
    all
}

impl View<'_> {
    fn load_balancer(&self, service: &Service) -> LoadBalancerReport {
        let addresses = listener_addresses(service);
        let listeners = service.lb.listeners.iter().enumerate();
        let listeners =
            listeners.map(|(index, listener)| self.listener(service, listener, addresses.get(index)));
        LoadBalancerReport {
            namespace: service.lb.key.namespace.to_string(),
            name: service.lb.key.name.to_string(),
            address: service.vip().map(|vip| vip.to_string()).unwrap_or_default(),
            listeners: listeners.collect(),
        }
    }

    fn listener(
        &self,
        service: &Service,
        listener: &CheckedListener,
        address: Option<&ListenerAddress>,
    ) -> ListenerReport {
        let entry = address.and_then(|address| self.observed.listeners.get(address));
        let counters = entry.and_then(|entry| self.counters.listeners.get(&entry.index)).copied();
        let backends = service.members.iter().map(|member| {
            let server = member.address().map(|a| SocketAddr::new(a, listener.server_port()));
            let found = entry.zip(server).and_then(|(entry, server)| {
                let id = self.living.get(&(entry.index, server))?;
                self.observed.backends.get_key_value(id)
            });
            self.backend(service, listener, member, server, found)
        });
        ListenerReport {
            name: listener.name.clone(),
            port: listener.port.get(),
            end_port: listener.end_port.map(Port::get),
            protocol: format!("{:?}", listener.protocol).to_uppercase(),
            backend_port: listener.server_port(),
            counters: counters.map(Counters::from).unwrap_or_default(),
            live_flows: entry
                .and_then(|entry| self.live_flows.get(&entry.index))
                .copied()
                .unwrap_or_default(),
            backends: backends.collect(),
        }
    }

    fn backend(
        &self,
        service: &Service,
        listener: &CheckedListener,
        member: &Member,
        server: Option<SocketAddr>,
        found: Option<(&BackendId, &BackendEntry)>,
    ) -> BackendReport {
        let counters = found.and_then(|(id, _)| self.counters.backends.get(id)).copied();
        let mode = found.map_or("", |(_, e)| if e.placement.masquerade { "Masquerade" } else { "Preserve" });
        let (health, probe) = self.health(service, listener, member.address());
        BackendReport {
            vm: member.vm.to_string(),
            address: server.map(|server| server.to_string()).unwrap_or_default(),
            state: found.map_or_else(|| "Absent".to_owned(), |(_, entry)| format!("{:?}", entry.state)),
            health: health.to_owned(),
            probe,
            since: since(service, listener, member),
            mode: mode.to_owned(),
            reason: self.reason(service, member),
            counters: counters.map(Counters::from).unwrap_or_default(),
            live_flows: found.map_or(0, |(id, entry)| live_flows(self.counters, *id, entry)),
        }
    }

    /// A word, and what the latest probe failed with.
    fn health(
        &self,
        service: &Service,
        listener: &CheckedListener,
        address: Option<IpAddr>,
    ) -> (&'static str, String) {
        let target = address.map(|address| Target { address, listener: own(listener) });
        let health = target.and_then(|target| health_of(&service.lb, &self.facts.health)(&target));
        let word = match health {
            None => "Unknown",
            Some(health) if health.reason == Reason::NotChecked => "Unchecked",
            Some(health) if health.ready => "Healthy",
            Some(health) if health.reason == Reason::NotProbed => "Unknown",
            Some(_) => "Unhealthy",
        };
        (word, health.map(|health| health.reason.message()).unwrap_or_default())
    }

    fn reason(&self, service: &Service, member: &Member) -> String {
        let Some(station) = member.station else { return "the VM tells no address".to_owned() };
        let (topology, ports) = (&self.facts.topology, &self.ports.attached);
        place(station.address, station.mac, service.lb.mode, topology, ports).reason.to_string()
    }
}

/// Since when a backend is ready or not, as the status has it.
fn since(service: &Service, listener: &CheckedListener, member: &Member) -> String {
    let backends = &service.object.status.backends;
    let Some(backend) = backends.iter().find(|backend| backend.vm == member.vm) else {
        return String::new();
    };
    let own = backend.listeners.iter().find(|own| own.name == listener.name);
    own.map_or(&backend.last_transition_time, |own| &own.last_transition_time).to_string()
}
