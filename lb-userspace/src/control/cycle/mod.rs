//! One turn of the control loop: all facts in, everything that follows from them out.
//!
//! Input: [`Facts`] and the time. Output: commands to the datapath, whom to probe, which addresses to resolve,
//! and, when they are asked for, the statuses to store.

mod answers;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use answers::Answers;
pub use model::{Facts, Questions, Wishes};

use crate::config::{Dhcp, Interfaces};
use crate::control::converge::Converger;
use crate::control::derive::{Context, Derived, is_settled};
use crate::control::desired::listener_address;
use crate::control::hold::Stations;
use crate::control::leases::{self, Lending, Networks};
use crate::control::model::Altered;
use crate::control::placement::place;
use crate::control::plan::Planner;
use crate::control::ports::{InterfaceProblem, assign};
use crate::control::registry::Statuses;
use crate::control::select::Member;
use crate::control::services::{Service, Services};
use crate::control::status::status;
use crate::control::tags::Tags;
use crate::datapath::Datapath;
use crate::datapath::model::ListenerAddress;
use crate::datapath::nudge::model::Ended;
use crate::datapath::port::{self, Port, Role};
use crate::inventory::links::{LinkKind, Topology};
use crate::ipam::announce::model::{Announced, Face};
use crate::model::check::Workload;
use crate::model::meta::NamespacedName;
use crate::model::sorted::added;
use crate::model::vm::VirtualMachines;

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
    /// What they follow from.
    topology: Arc<Topology>,
    lending: Lending,
    problems: Vec<InterfaceProblem>,
    /// The maps have been led to what was desired once.
    adopted: bool,
    /// What the services come to.
    derived: Derived,
    /// What is not desired as it was when the datapath was last led there.
    altered: Altered,
    announced: Announced,
    tags: Tags,
    /// No VIP has come or gone since what was desired was announced.
    all_announced: bool,
    /// Addresses at which VMs are reached that none tells.
    held: BTreeSet<IpAddr>,
    /// Load balancers whose status may not be stored yet.
    unstored: BTreeSet<NamespacedName>,
    /// Not all is known that statuses follow from.
    is_waiting: bool,
    answers: Answers,
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
            topology: Arc::default(),
            lending: Lending::default(),
            problems: Vec::new(),
            adopted: false,
            derived: Derived::default(),
            altered: Altered::default(),
            announced: Announced::default(),
            tags: Tags::default(),
            all_announced: false,
            held: BTreeSet::new(),
            unstored: BTreeSet::new(),
            is_waiting: true,
            answers: Answers::default(),
        }
    }

    /// With networks to ask for addresses in.
    #[must_use]
    pub fn with_dhcp(self, dhcp: Dhcp) -> Self {
        Self { dhcp, ..self }
    }

    /// Reads the maps back before the first turn needs them.
    pub fn read_back(&mut self, now: Instant) {
        self.converger.read_back(now);
    }

    /// Looks at everything again in the next turn: the maps, and the interfaces.
    pub fn forget(&mut self) {
        self.converger.forget();
        self.ports = None;
    }

    /// When the next turn is due if no fact changes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let datapath = match self.answers.poll_timeout() {
            Some(until) => Some(until),
            // Nothing is planned before more is known, whatever it is time for.
            None if self.is_waiting => self.converger.failure().map(|failure| failure.retry_at),
            None => self.converger.poll_timeout(),
        };
        [datapath, self.stations.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether what is desired waits for the network to tell where new addresses are.
    pub const fn awaits_answers(&self) -> bool {
        self.answers.poll_timeout().is_some()
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

    /// One turn. `ask` is told what is to be found out as soon as that is known: others can do so while the datapath is
    /// led to what is desired.
    pub fn turn(
        &mut self,
        facts: &Facts,
        now: Instant,
        moment: Timestamp,
        ask: impl FnOnce(Questions),
    ) -> Wishes {
        let networks = Networks { dhcp: &self.dhcp, interfaces: &self.interfaces, topology: &facts.topology };
        let leases = self.lending.follow(&facts.resources, &networks);
        // Without facts about VMs, what the maps hold is better than nothing.
        let Some(virtual_machines) = &facts.virtual_machines else {
            ask(Questions::default());
            self.wait(facts, (now, moment));
            return Wishes { leases, ..Wishes::default() };
        };
        if self.ports.is_none() || !Arc::ptr_eq(&self.topology, &facts.topology) {
            self.topology = Arc::clone(&facts.topology);
            if let Err(error) = self.serve_ports(&facts.topology) {
                tracing::warn!("interfaces can't be served: {error}; tried again at the next change");
                self.ports = None;
            }
        }
        let outdated = self.follow(facts, virtual_machines, now);
        ask(Questions {
            probes: self.derived.probes.clone(),
            addresses: Arc::clone(&self.derived.addresses),
        });
        let Derived { addresses, new_addresses, .. } = &mut self.derived;
        let new = std::mem::take(new_addresses);
        let is_answered = self.answers.have_come(new, addresses, &facts.topology, now);
        if is_answered || !self.adopted {
            self.place(facts);
        }
        // What the maps hold of an earlier agent serves on until all of it can be placed. And the prober tells at
        // once what a new backend starts as.
        let all_settled = || {
            added(facts.topology.settled.keys(), self.derived.addresses.keys()).next().is_none()
                && leases::are_known(&leases, &facts.leases)
        };
        let is_known = if self.adopted {
            is_answered && self.derived.is_known()
        } else {
            self.derived.is_all_known() && all_settled()
        };
        if !is_known {
            self.wait(facts, (now, moment));
            let announced = self.announce(facts, false);
            return Wishes { leases, announced, ..Wishes::default() };
        }
        let desired = &self.derived.desired;
        let is_done = self.converger.converge(desired, &std::mem::take(&mut self.altered), now);
        if is_done && !self.adopted {
            let (vips, listeners) = (desired.vips.len(), desired.listeners.len());
            tracing::info!(vips, listeners, "in step with what is desired");
        }
        self.adopted = true;
        self.is_waiting = false;
        let backends = self.converger.take_ended();
        let vips = if backends.is_empty() { BTreeSet::new() } else { desired.vips.keys().copied().collect() };
        let announced = self.announce(facts, is_done);
        // Taking leave of ten thousand VMs takes its time.
        drop(outdated);
        Wishes { leases, ended: Ended { backends, vips }, announced }
    }

    /// Takes over the facts. Returns those about VMs that are no longer needed.
    fn follow(
        &mut self,
        facts: &Facts,
        virtual_machines: &Arc<VirtualMachines>,
        now: Instant,
    ) -> Option<Arc<VirtualMachines>> {
        let ports = &self.served_ports.attached;
        let reaching = |addresses: &_| self.derived.reaching(addresses);
        let changed =
            self.services.refresh(facts, virtual_machines, &mut self.stations, ports, now, reaching);
        self.derived.follow(&changed, &self.services, facts);
        self.follow_running(changed.turned, changed.held);
        self.unstored.extend(changed.told);
        changed.outdated
    }

    /// Works out what is desired.
    fn place(&mut self, facts: &Facts) {
        let ports = &self.served_ports.attached;
        let place = |mode, address, mac| place(address, mac, mode, &facts.topology, ports).placement;
        let context = Context { facts, slots: self.slots, place: &place };
        self.derived.place(&self.services, &context, &mut self.altered);
        self.all_announced &=
            self.altered.vips.iter().all(|vip| self.announced.vips.contains_key(vip) == self.is_ours(vip));
    }

    /// Takes over at which addresses VMs run. What is held is held for whoever chooses it.
    fn follow_running(&mut self, mut turned: BTreeSet<IpAddr>, may_hold: bool) {
        if may_hold {
            let held = self.stations.held(&self.services.choices());
            turned.extend(self.held.symmetric_difference(&held));
            self.held = held;
        }
        let running = &mut self.derived.desired.running;
        for address in turned {
            if self.stations.is_told(address) || self.held.contains(&address) {
                running.insert(address);
            } else if running.remove(&address) {
                // Backends that any load balancer has left may have flows to finish at an address that is gone.
                self.altered.stopped.insert(address);
            }
        }
    }

    /// What the network may have other notions of: what has been served and still is to be, and, once all `is_done`, what
    /// is new. The MACs are those of now whatever else could be done.
    fn announce(&mut self, facts: &Facts, is_done: bool) -> Option<Announced> {
        self.all_announced &= !self.tags.follow(&facts.resources, &self.dhcp);
        let mut vips = None;
        if !self.all_announced {
            let known = self.announced.vips.keys().filter(|vip| self.is_ours(vip));
            let new = self.derived.desired.vips.keys().filter(|vip| is_done && self.is_ours(vip));
            let tagged = known.chain(new).map(|vip| (*vip, self.tags.of(vip)));
            vips = Some(tagged.collect()).filter(|vips| *vips != self.announced.vips);
            self.all_announced = is_done;
        }
        let links = &facts.topology.links;
        let ports = self.ports.as_ref().map(|ports| {
            let attached = ports.iter().filter(|(ifindex, port)| {
                port.role != Role::VmPort
                    && self.served_ports.attached.contains_key(ifindex)
                    && !port.mac.is_unset()
            });
            let shown = attached.filter_map(|(ifindex, port)| {
                let link = links.get(ifindex).filter(|link| link.up)?;
                Some((*ifindex, Face { mac: port.mac, adds_tag: link.kind == LinkKind::Vlan }))
            });
            shown.collect()
        });
        let ports = ports.filter(|ports| *ports != self.announced.ports);
        if vips.is_none() && ports.is_none() {
            return None;
        }
        self.announced.vips = vips.unwrap_or_else(|| std::mem::take(&mut self.announced.vips));
        self.announced.ports = ports.unwrap_or_else(|| std::mem::take(&mut self.announced.ports));
        Some(self.announced.clone())
    }

    /// Whether a VIP is to be announced here.
    fn is_ours(&self, vip: &IpAddr) -> bool {
        self.derived.desired.vips.get(vip).is_some_and(|policy| !policy.leased)
    }

    /// What can't wait until all is known that a turn needs: an address whose lease has ended may be another's by now.
    fn wait(&mut self, facts: &Facts, (now, moment): (Instant, Timestamp)) {
        self.converger.withdraw(|vips| leases::ended(vips, &facts.resources, &facts.leases, moment), now);
        if !self.awaits_answers() {
            self.converger.forget_failure(now);
        }
        self.is_waiting = true;
    }

    /// The statuses that are not stored as they should be, by the facts of the last turn. They are told again until they
    /// are. What has become of leases has to outlive this agent, whatever else is known.
    pub fn statuses(&mut self, facts: &Facts, moment: Timestamp) -> Statuses {
        let leases = leases::unstored(&facts.resources, &facts.leases);
        if self.is_waiting {
            let load_balancers = leases::lost(&facts.resources, &facts.leases, moment);
            return Statuses { load_balancers, leases };
        }
        let mut load_balancers = Vec::new();
        self.unstored.retain(|key| {
            let Some(service) = self.services.get(key) else { return false };
            let is_settled = |member: &Member| is_settled(member, &facts.topology);
            let is_told = self.derived.knows(key) && service.members.iter().all(is_settled);
            if service.vip().is_some() && !is_told {
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
        Statuses { load_balancers, leases }
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
mod tests;
