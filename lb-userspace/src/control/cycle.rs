//! One turn of the control loop: all facts in, everything that follows from them out.
//!
//! Input: [`Facts`] and the time. Output: commands to the datapath, whom to probe, which addresses to resolve,
//! and the statuses to store.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::converge::Converger;
use super::derive::{Context, Derived, is_settled};
use super::desired::listener_address;
use super::hold::Stations;
use super::leases::{self, Networks};
use super::placement::place;
use super::plan::Planner;
use super::ports::{InterfaceProblem, assign};
use super::registry::Statuses;
use super::resources::Resources;
use super::select::Member;
use super::services::{Service, Services};
use super::status::status;
use crate::config::{Dhcp, Interfaces};
use crate::datapath::Datapath;
use crate::datapath::model::ListenerAddress;
use crate::datapath::nudge::model::Ended;
use crate::datapath::port::{self, Port};
use crate::health::model::{Snapshot, WantedBackends};
use crate::inventory::links::Topology;
use crate::ipam::dhcp::model::{Facts as Leases, Wanted};
use crate::model::check::Workload;
use crate::model::meta::NamespacedName;
use crate::model::vm::VirtualMachines;

/// What is known of the world.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    /// What users want.
    pub resources: Arc<Resources>,
    /// Who exists; `None` until the first time that the inventory could be read.
    pub virtual_machines: Option<Arc<VirtualMachines>>,
    /// Who is well.
    pub health: Snapshot,
    /// This node's network.
    pub topology: Topology,
    /// What DHCP servers lent.
    pub leases: Leases,
}

/// What others are to do.
#[derive(Clone, Default, Debug)]
pub struct Wishes {
    /// Whom to probe.
    pub probes: WantedBackends,
    /// Which addresses to resolve.
    pub addresses: BTreeSet<IpAddr>,
    /// Which addresses to obtain by DHCP.
    pub leases: Wanted,
    /// What to store.
    pub statuses: Statuses,
    /// Whose clients to nudge.
    pub ended: Ended,
}

/// What the loop remembers from turn to turn.
pub struct Cycle<D> {
    pub(super) converger: Converger<D>,
    pub(super) served_ports: port::Served,
    pub(super) services: Services,
    interfaces: Interfaces,
    dhcp: Dhcp,
    slots: u32,
    stations: Stations,
    ports: Option<BTreeMap<u32, Port>>,
    problems: Vec<InterfaceProblem>,
    /// The maps have been led to what was desired once.
    adopted: bool,
    /// What the services come to.
    derived: Derived,
    /// Listeners that are not desired as they were when the datapath was last led there.
    changed: BTreeSet<ListenerAddress>,
    /// Load balancers whose status may not be stored yet.
    unstored: BTreeSet<NamespacedName>,
}

impl<D: Datapath> Cycle<D> {
    /// Over a datapath, with the configured interfaces and table size.
    pub fn new(
        datapath: D,
        planner: Planner,
        interfaces: Interfaces,
        slots: u32,
        stations: Stations,
    ) -> Self {
        Self {
            converger: Converger::new(datapath, planner),
            served_ports: port::Served::default(),
            services: Services::default(),
            interfaces,
            dhcp: Dhcp::default(),
            slots,
            stations,
            ports: None,
            problems: Vec::new(),
            adopted: false,
            derived: Derived::default(),
            changed: BTreeSet::new(),
            unstored: BTreeSet::new(),
        }
    }

    /// With networks to ask for addresses in.
    #[must_use]
    pub fn with_dhcp(self, dhcp: Dhcp) -> Self {
        Self { dhcp, ..self }
    }

    /// Looks at everything again in the next turn: the maps, and the interfaces.
    pub fn forget(&mut self) {
        self.converger.forget();
        self.ports = None;
    }

    /// When the next turn is due if no fact changes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.converger.poll_timeout(), self.stations.poll_timeout()].into_iter().flatten().min()
    }

    /// Attaches the programs to the interfaces that there are; those that are new are picked up.
    ///
    /// # Errors
    /// When what is attached can't be found out or detached.
    pub fn serve_ports(&mut self, topology: &Topology) -> Result<(), D::Error> {
        let assignment = assign(topology, &self.interfaces);
        for problem in assignment.problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::warn!("{problem}");
        }
        self.problems = assignment.problems;
        if self.ports.as_ref() == Some(&assignment.ports) {
            return Ok(());
        }
        let served = self.converger.datapath().serve(&assignment.ports)?;
        self.ports = Some(assignment.ports);
        for port in served.attached.values().filter(|port| !is_attached(&self.served_ports, port)) {
            tracing::info!(interface = port.name, role = %port.role, hook = %port.hook, "attached: {}", port.reason);
        }
        for port in served.refused.iter().filter(|port| !self.served_ports.refused.contains(port)) {
            tracing::warn!(interface = port.name, role = %port.role, "not attached: {}", port.reason);
        }
        self.served_ports = served;
        Ok(())
    }

    /// Interfaces that the programs can't work on.
    pub fn refused_ports(&self) -> &[port::RefusedPort] {
        &self.served_ports.refused
    }

    /// What is wrong with the configured interfaces.
    pub fn problems(&self) -> &[InterfaceProblem] {
        &self.problems
    }

    /// One turn.
    pub fn turn(&mut self, facts: &Facts, now: Instant, moment: Timestamp) -> Wishes {
        let networks = Networks { dhcp: &self.dhcp, interfaces: &self.interfaces, topology: &facts.topology };
        let leases = leases::wanted(&facts.resources, &networks);
        // Without facts about VMs, what the maps hold is better than nothing.
        let Some(virtual_machines) = &facts.virtual_machines else {
            return Wishes { leases, ..Wishes::default() };
        };
        if let Err(error) = self.serve_ports(&facts.topology) {
            tracing::warn!("interfaces can't be served: {error}; tried again at the next change");
            self.ports = None;
        }
        let ports = &self.served_ports.attached;
        let changed = self.services.refresh(facts, virtual_machines, &mut self.stations, ports, now);
        let place = |mode, address, mac| place(address, mac, mode, &facts.topology, ports).placement;
        let context = Context { facts, slots: self.slots, place: &place };
        self.changed.extend(self.derived.follow(&changed, &self.services, &context));
        if changed.stations {
            let running = self.stations.addresses().collect();
            let desired = &mut self.derived.desired;
            // Backends that any load balancer has left may have flows to finish at an address that is gone.
            if !desired.running.is_subset(&running) {
                self.changed.extend(desired.listeners.keys().copied());
            }
            desired.running = running;
        }
        self.unstored.extend(changed.services);
        let mut wishes = Wishes {
            probes: self.derived.probes.clone(),
            addresses: self.derived.addresses.clone(),
            leases,
            ..Wishes::default()
        };
        // What the maps hold of an earlier agent serves on until all of it can be placed. And the prober tells at
        // once what a new backend starts as; until then nothing is known that could be done.
        let all_settled = || {
            self.derived.addresses.is_subset(&facts.topology.settled)
                && leases::are_known(&wishes.leases, &facts.leases)
        };
        if !self.derived.unknown.is_empty() || !(self.adopted || all_settled()) {
            return wishes;
        }
        let desired = &self.derived.desired;
        let is_done = self.converger.converge_changes(desired, &std::mem::take(&mut self.changed), now);
        if is_done && !self.adopted {
            let (vips, listeners) = (desired.vips.len(), desired.listeners.len());
            tracing::info!(vips, listeners, "in step with what is desired");
        }
        self.adopted = true;
        let backends = self.converger.take_ended();
        if !backends.is_empty() {
            wishes.ended = Ended { backends, vips: desired.vips.keys().copied().collect() };
        }
        wishes.statuses = self.statuses(facts, moment);
        wishes
    }

    /// The statuses that are not stored as they should be. They are told again until they are.
    fn statuses(&mut self, facts: &Facts, moment: Timestamp) -> Statuses {
        let mut load_balancers = Vec::new();
        self.unstored.retain(|key| {
            let Some(service) = self.services.get(key) else { return false };
            let is_settled = |member: &Member| is_settled(member, &facts.topology);
            if service.vip().is_some() && !service.members.iter().all(is_settled) {
                return true;
            }
            let old = &service.object.status;
            let new = status(old, &service.lb, service.origin(), &service.members, &facts.health, moment);
            let is_stored = new == *old;
            if !is_stored {
                load_balancers.push((key.clone(), new));
            }
            !is_stored
        });
        Statuses { load_balancers, leases: leases::unstored(&facts.resources, &facts.leases) }
    }
}

fn is_attached(served: &port::Served, port: &port::AttachedPort) -> bool {
    served.attached.get(&port.ifindex) == Some(port)
}

/// The listeners of a service as the datapath knows them.
pub(super) fn listener_addresses(service: &Service) -> Vec<ListenerAddress> {
    let Some(vip) = service.vip().filter(|_| service.lb.workload == Workload::Vm) else { return Vec::new() };
    service.lb.listeners.iter().map(|listener| listener_address(vip, listener)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inventory;
    use crate::control::plan::Capacity;
    use crate::control::sample::{self, ETH0, station};
    use crate::control::select::tests::{raw_lb, vm, vms};
    use crate::datapath::memory::Memory;
    use crate::health::model::{Backend, Health, Reason};
    use crate::model::load_balancer::AllocatedAddress;

    const FIRST: [u8; 4] = [192, 0, 2, 11];
    const SECOND: [u8; 4] = [192, 0, 2, 12];

    fn cycle() -> Cycle<Memory> {
        let planner = Planner::new(Capacity { listeners: 8, backends: 8 }, 1);
        let interfaces = Interfaces { uplinks: Some(vec!["eth0".to_owned()]), ..Interfaces::default() };
        Cycle::new(Memory::default(), planner, interfaces, 251, Stations::new(Inventory::HOLD_DOWN))
    }

    /// shop/front at 203.0.113.10 over these VMs, of which the settled ones are on the network at eth0.
    fn facts(addresses: &[[u8; 4]], settled: &[[u8; 4]]) -> Facts {
        let mut front = raw_lb();
        front.status.allocated_address =
            Some(AllocatedAddress { ip: "203.0.113.10".to_owned(), ..AllocatedAddress::default() });
        let key = front.metadata.key();
        let web = |address: &[u8; 4]| {
            let address = IpAddr::from(*address).to_string();
            vm("shop", &address.replace('.', "-"), &[("app", "web")], &address)
        };
        let health = |address: &[u8; 4]| {
            let backend = Backend::new(key.clone(), IpAddr::from(*address));
            (backend, Health { ready: true, reason: Reason::NotChecked })
        };
        let mut topology = sample::vm_host();
        for address in settled {
            sample::reach(&mut topology, IpAddr::from(*address), ETH0, None, station(address[3]));
            topology.settled.insert(IpAddr::from(*address));
        }
        Facts {
            health: addresses.iter().map(health).collect(),
            virtual_machines: Some(vms(&addresses.iter().map(web).collect::<Vec<_>>()).into()),
            topology,
            leases: Leases::new(),
            resources: Arc::new(Resources {
                load_balancers: [(key.clone(), front.into())].into(),
                ..Resources::default()
            }),
        }
    }

    /// The addresses of the backends that take new flows, after a turn that wishes for this.
    fn turn(cycle: &mut Cycle<Memory>, facts: &Facts) -> (Vec<IpAddr>, Wishes) {
        let wishes = cycle.turn(facts, Instant::now(), Timestamp::UNIX_EPOCH);
        let observed = cycle.converger.datapath().observe().unwrap();
        let ids: BTreeSet<_> = observed.tables.values().flat_map(|table| table.iter()).copied().collect();
        let chosen = observed.backends.iter().filter(|(id, _)| ids.contains(id));
        (chosen.map(|(_, backend)| backend.address.ip()).collect(), wishes)
    }

    /// Chosen before anything was known of it, a backend got its first clients with the VIP for their address.
    #[test]
    fn a_backend_is_chosen_once_it_is_known_where_it_is() {
        let mut cycle = cycle();
        let [first, second] = [FIRST, SECOND].map(IpAddr::from);
        assert_eq!(turn(&mut cycle, &facts(&[FIRST], &[FIRST])).0, [first]);
        let (chosen, wishes) = turn(&mut cycle, &facts(&[FIRST, SECOND], &[FIRST]));
        assert_eq!(chosen, [first]);
        assert_eq!(wishes.addresses, BTreeSet::from([first, second]));
        assert!(wishes.statuses.load_balancers.is_empty(), "it would tell of a backend that takes nothing");
        let (chosen, wishes) = turn(&mut cycle, &facts(&[FIRST, SECOND], &[FIRST, SECOND]));
        assert_eq!(chosen, [first, second]);
        assert_eq!(wishes.statuses.load_balancers.len(), 1);
    }

    #[test]
    fn what_an_earlier_agent_left_serves_on_until_all_of_it_can_be_placed() {
        let mut earlier = cycle();
        turn(&mut earlier, &facts(&[FIRST, SECOND], &[FIRST, SECOND]));
        let mut cycle = cycle();
        cycle.converger = earlier.converger;
        let both = [FIRST, SECOND].map(IpAddr::from);
        assert_eq!(turn(&mut cycle, &facts(&[FIRST, SECOND], &[SECOND])).0, both);
        assert_eq!(turn(&mut cycle, &facts(&[FIRST, SECOND], &[FIRST, SECOND])).0, both);
    }
}
