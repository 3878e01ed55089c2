//! Load balancers and who serves them, from turn to turn: what no changed fact bears on is kept as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::admission::ALLOCATED;
use super::choice::{Choice, differing_vms};
use super::cycle::Facts;
use super::hold::Stations;
use super::leases;
use super::origin::Origin;
use super::resources::Resources;
use super::select::{Member, Selecting};
use crate::datapath::model::Mac;
use crate::datapath::port::AttachedPort;
use crate::health::model::Snapshot;
use crate::inventory::links::{Moved, Topology};
use crate::ipam::dhcp::model::{Facts as Leases, State};
use crate::model::check::{AddressChoice, CheckedLoadBalancer, Selector, Workload};
use crate::model::family::Family;
use crate::model::load_balancer::{LoadBalancer, LoadBalancerSpec};
use crate::model::meta::NamespacedName;
use crate::model::shared::differing;
use crate::model::vm::VirtualMachines;

/// A load balancer and who serves it.
pub(super) struct Service {
    pub(super) object: Arc<LoadBalancer>,
    pub(super) lb: Arc<CheckedLoadBalancer>,
    pub(super) members: Vec<Member>,
    vip: Option<IpAddr>,
    /// How it goes with its lease, if it takes one.
    lease: Option<State>,
}

impl Service {
    /// Its VIP, once it has one.
    pub(super) const fn vip(&self) -> Option<IpAddr> {
        self.vip
    }

    /// The address in its status, or why there is none.
    pub(super) fn origin(&self) -> Origin<'_> {
        if self.object.takes_lease() {
            return Origin::Dhcp(self.lease.as_ref());
        }
        let conditions = &self.object.status.conditions;
        let refused = conditions.iter().find(|c| c.kind == ALLOCATED && c.status == "False");
        Origin::Pool(match (&self.object.status.allocated_address, refused) {
            (Some(address), None) => Ok(address),
            (_, Some(condition)) => Err(&condition.message),
            (None, None) => Err("no address is assigned yet"),
        })
    }
}

/// All of them, and the facts that they follow from.
#[derive(Default)]
pub(super) struct Services {
    all: BTreeMap<NamespacedName, Service>,
    /// Those that share the address of another.
    sharers: BTreeSet<NamespacedName>,
    /// Those that choose among VMs' addresses.
    choosers: BTreeSet<NamespacedName>,
    selecting: Selecting,
    resources: Arc<Resources>,
    vms: Option<Arc<VirtualMachines>>,
    health: Snapshot,
    leases: Leases,
    topology: Arc<Topology>,
    ports: BTreeMap<u32, AttachedPort>,
}

/// What is not as it was.
#[derive(Default)]
pub(super) struct Changed {
    /// Load balancers about which anything is new, those that are gone included: their status may be another.
    pub(super) told: BTreeSet<NamespacedName>,
    /// Those of them that may be served otherwise.
    pub(super) served: BTreeSet<NamespacedName>,
    /// Those of these of which more is new than how well their backends are.
    pub(super) rebuilt: BTreeSet<NamespacedName>,
    /// Addresses that running VMs tell, or tell no more.
    pub(super) turned: BTreeSet<IpAddr>,
    /// What is held may be another's, or for others.
    pub(super) held: bool,
    /// The facts about VMs as they were.
    pub(super) outdated: Option<Arc<VirtualMachines>>,
}

impl Changed {
    fn rebuild(&mut self, lb: &NamespacedName) {
        self.serve(lb);
        self.rebuilt.insert(lb.clone());
    }

    fn serve(&mut self, lb: &NamespacedName) {
        self.served.insert(lb.clone());
        self.told.insert(lb.clone());
    }
}

impl Services {
    pub(super) fn get(&self, lb: &NamespacedName) -> Option<&Service> {
        self.all.get(lb)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Service> {
        self.all.values()
    }

    /// Which addresses load balancers choose, each beside their namespace.
    pub(super) fn choices(&self) -> BTreeSet<(&str, &AddressChoice)> {
        let choosing = self.choosers.iter().filter_map(|lb| self.all.get(lb)).map(|service| &*service.lb);
        choosing.map(|lb| (lb.key.namespace.as_str(), &lb.backend_address)).collect()
    }

    /// Takes over the facts. Only whom one that has changed may concern is looked at.
    pub(super) fn refresh(
        &mut self,
        facts: &Facts,
        vms: &Arc<VirtualMachines>,
        stations: &mut Stations,
        ports: &BTreeMap<u32, AttachedPort>,
        now: Instant,
        reaching: impl FnOnce(&BTreeSet<IpAddr>) -> BTreeSet<NamespacedName>,
    ) -> Changed {
        let before = self.vms.replace(Arc::clone(vms));
        let moved = match &before {
            Some(known) if Arc::ptr_eq(known, vms) => stations.handle_timeout(now),
            Some(known) => stations.handle_changes(vms, &differing_vms(known, vms), now),
            None => stations.handle_changes(vms, &vms.keys().cloned().collect(), now),
        };
        let resources = std::mem::replace(&mut self.resources, Arc::clone(&facts.resources));
        let is_same = Arc::ptr_eq(&resources, &facts.resources);
        let both = (&resources.load_balancers, &facts.resources.load_balancers);
        let objects = if is_same { Vec::new() } else { differing(both.0, both.1) };
        // A status that has been stored makes another object, which selects as before, and so does another weight.
        let is_alike = |old: &LoadBalancerSpec, new: &LoadBalancerSpec| {
            old.workload_type == new.workload_type
                && old.backend_server_selector == new.backend_server_selector
        };
        let selects_anew = |old: Option<&Arc<LoadBalancer>>, new: Option<&Arc<LoadBalancer>>| {
            new.is_some_and(|new| old.is_none_or(|old| !is_alike(&old.spec, &new.spec)))
        };
        let choosers = objects.iter().filter(|(_, old, new)| selects_anew(*old, *new)).count();
        let choice = Choice::new((before.as_deref(), vms), stations, &moved, choosers);

        let mut concerned: BTreeSet<NamespacedName> = objects.iter().map(|(lb, ..)| (*lb).clone()).collect();
        concerned.extend(self.lend(&facts.leases));
        if !moved.is_empty() {
            concerned.extend(choice.concerned(&self.selecting).cloned());
        }
        let mut changed = Changed { held: !moved.is_empty(), ..Changed::default() };
        for lb in &concerned {
            self.follow(lb, facts, &choice, &mut changed);
        }
        let probed = std::mem::replace(&mut self.health, facts.health.clone()).differing(&facts.health);
        probed.iter().filter(|lb| self.all.contains_key(lb)).for_each(|lb| changed.serve(lb));
        drop(choice);
        changed.turned = stations.take_turned();
        changed.outdated = before;
        match self.rewire(&facts.topology, ports) {
            Moved::Any => self.all.keys().for_each(|lb| changed.rebuild(lb)),
            Moved::These { addresses, stations } => {
                reaching(&addresses)
                    .into_iter()
                    .chain(self.behind(&stations))
                    .filter(|lb| self.all.contains_key(lb))
                    .for_each(|lb| changed.rebuild(&lb));
            }
        }
        self.add_sharers(&mut changed);
        changed
    }

    /// Takes over one that may have changed.
    fn follow(&mut self, lb: &NamespacedName, facts: &Facts, choice: &Choice<'_>, changed: &mut Changed) {
        self.sharers.remove(lb);
        changed.held |= self.choosers.remove(lb);
        let object = facts.resources.load_balancers.get(lb);
        let known = self.all.remove(lb);
        if let Some(known) = &known {
            self.selecting.remove(&known.lb);
        }
        let Some((service, news)) = object.and_then(|object| follow(known, object, facts, choice)) else {
            changed.rebuild(lb);
            return;
        };
        match news {
            News::None => {}
            News::Told => _ = changed.told.insert(lb.clone()),
            News::Rebuilt => changed.rebuild(lb),
        }
        if service.lb.shares.is_some() {
            self.sharers.insert(lb.clone());
        }
        if !service.lb.backend_address.is_any() {
            self.choosers.insert(lb.clone());
            changed.held = true;
        }
        self.selecting.add(&service.lb);
        self.all.insert(lb.clone(), service);
    }

    /// Those with a member that has one of these MACs.
    fn behind(&self, stations: &BTreeSet<Mac>) -> Vec<NamespacedName> {
        if stations.is_empty() {
            return Vec::new();
        }
        let mac = |member: &Member| member.station.and_then(|station| station.mac);
        let is_one = |member: &Member| mac(member).is_some_and(|mac| stations.contains(&mac));
        let all = self.all.iter().filter(|(_, service)| service.members.iter().any(is_one));
        all.map(|(lb, _)| lb.clone()).collect()
    }

    /// Takes over how it goes with leases. Tells whose are others.
    fn lend(&mut self, leases: &Leases) -> Vec<NamespacedName> {
        if self.leases == *leases {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.leases, leases.clone());
        let both = before.keys().chain(leases.keys());
        both.filter(|lb| before.get(*lb) != leases.get(*lb)).cloned().collect()
    }

    /// Adds those that share the address of any: what holds for it, holds for all of them.
    fn add_sharers(&self, changed: &mut Changed) {
        for lb in &self.sharers {
            let owner = self.all.get(lb).and_then(|service| service.lb.shares.as_ref());
            let Some(owner) = owner else { continue };
            if changed.rebuilt.contains(owner) {
                changed.rebuild(lb);
            } else if changed.served.contains(owner) {
                changed.serve(lb);
            }
        }
    }

    /// Takes over how the node is wired. Tells whom that concerns.
    fn rewire(&mut self, topology: &Arc<Topology>, ports: &BTreeMap<u32, AttachedPort>) -> Moved {
        let before = std::mem::replace(&mut self.topology, Arc::clone(topology));
        if self.ports == *ports {
            return topology.moved_since(&before);
        }
        self.ports.clone_from(ports);
        Moved::Any
    }
}

/// What is new about a service.
enum News {
    None,
    /// What its status may tell.
    Told,
    /// What it asks for, its VIP, its members or their addresses.
    Rebuilt,
}

/// What becomes of a service; `None` if its object is not right.
fn follow(
    known: Option<Service>,
    object: &Arc<LoadBalancer>,
    facts: &Facts,
    choice: &Choice<'_>,
) -> Option<(Service, News)> {
    let lease = facts.leases.get(&object.metadata.key()).filter(|_| object.takes_lease()).cloned();
    let vip = vip(object, &facts.leases);
    let object = Arc::clone(object);
    let Some(known) = known else {
        let lb = Arc::new(checked(&object)?);
        let members = choice.among_all(&lb, family(&lb, vip));
        return Some((Service { object, lb, members, vip, lease }, News::Rebuilt));
    };
    let is_same = Arc::ptr_eq(&known.object, &object);
    let family_before = family(&known.lb, known.vip);
    // A status that is stored makes another object, which asks for the same.
    let new = if is_same { None } else { Some(checked(&object)?).filter(|lb| *lb != *known.lb) };
    let asks_anew = new.is_some();
    let selects_anew = new.as_ref().is_some_and(|lb| selection(lb) != selection(&known.lb));
    let lb = new.map_or(known.lb, Arc::new);
    let family = family(&lb, vip);
    let chosen = if selects_anew {
        Some(choice.among_all(&lb, family)).filter(|members| *members != known.members)
    } else if asks_anew || family != family_before {
        Some(choice.among_known(&lb, family, &known.members)).filter(|members| *members != known.members)
    } else {
        choice.among_changed(&lb, family, &known.members)
    };
    let news = if asks_anew || chosen.is_some() || vip != known.vip {
        News::Rebuilt
    } else if !is_same || lease != known.lease {
        News::Told
    } else {
        News::None
    };
    let members = chosen.unwrap_or(known.members);
    Some((Service { object, lb, members, vip, lease }, news))
}

/// What decides which VMs serve it.
const fn selection(lb: &CheckedLoadBalancer) -> (Workload, &Selector) {
    (lb.workload, &lb.selector)
}

/// The VIP's family; before there is one, that of the address that is asked for.
fn family(lb: &CheckedLoadBalancer, vip: Option<IpAddr>) -> Family {
    vip.or(lb.address).map_or(Family::V4, Family::of)
}

fn vip(object: &LoadBalancer, leases: &Leases) -> Option<IpAddr> {
    if object.takes_lease() {
        return leases::vip(object, leases);
    }
    object.status.allocated_address.as_ref()?.ip.parse().ok()
}

/// What an object says, if it is right.
fn checked(object: &LoadBalancer) -> Option<CheckedLoadBalancer> {
    let errors = match object.check() {
        Ok(lb) => return Some(lb),
        Err(errors) => errors,
    };
    // Admission lets none of these in; an older version may have.
    for error in errors {
        tracing::warn!(load_balancer = %object.metadata.key(), "not served: {error}");
    }
    None
}
