//! Load balancers and who serves them, from turn to turn: what no changed fact bears on is kept as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::admission::ALLOCATED;
use super::cycle::Facts;
use super::hold::Stations;
use super::leases;
use super::origin::Origin;
use super::select::{Labelled, Member, members};
use crate::datapath::port::AttachedPort;
use crate::health::model::{Health, OfBalancer};
use crate::inventory::links::Topology;
use crate::ipam::dhcp::model::{Facts as Leases, State};
use crate::model::check::{AddressChoice, CheckedLoadBalancer};
use crate::model::family::Family;
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::NamespacedName;
use crate::model::vm::VirtualMachines;

/// A load balancer and who serves it.
pub(super) struct Service {
    pub(super) object: Arc<LoadBalancer>,
    pub(super) lb: CheckedLoadBalancer,
    pub(super) members: Vec<Member>,
    vip: Option<IpAddr>,
    /// How it goes with its lease, if it takes one.
    lease: Option<State>,
    /// What is known of its backends.
    health: Option<OfBalancer<Health>>,
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
    vms: Option<Arc<VirtualMachines>>,
    topology: Topology,
    ports: BTreeMap<u32, AttachedPort>,
}

/// What is not as it was.
#[derive(Default)]
pub(super) struct Changed {
    /// Load balancers about which anything is new, those that are gone included.
    pub(super) services: BTreeSet<NamespacedName>,
    /// There are other VIPs, or other members or addresses of members.
    pub(super) members: bool,
    /// The VMs' addresses may be others.
    pub(super) stations: bool,
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
        let all = self.all.values().map(|service| &service.lb);
        let choosing = all.filter(|lb| !lb.backend_address.is_any());
        choosing.map(|lb| (lb.key.namespace.as_str(), &lb.backend_address)).collect()
    }

    /// Takes over the facts.
    pub(super) fn refresh(
        &mut self,
        facts: &Facts,
        vms: &Arc<VirtualMachines>,
        stations: &mut Stations,
        ports: &BTreeMap<u32, AttachedPort>,
        now: Instant,
    ) -> Changed {
        let moved = if self.vms.as_ref().is_some_and(|known| Arc::ptr_eq(known, vms)) {
            stations.handle_timeout(now)
        } else {
            stations.handle_facts(vms, now);
            true
        };
        self.vms = Some(Arc::clone(vms));
        let rewired = self.rewire(&facts.topology, ports);
        let labelled = moved.then(|| Labelled::new(vms));
        let stations = &*stations;
        let choose = |lb: &CheckedLoadBalancer, vip: Option<IpAddr>| {
            // The VIP's family; before there is one, that of the address that is asked for.
            let family = vip.or(lb.address).map_or(Family::V4, Family::of);
            match &labelled {
                Some(labelled) => members(lb, family, labelled.candidates(lb), stations),
                None => members(lb, family, vms.values(), stations),
            }
        };
        let mut before = std::mem::take(&mut self.all);
        let mut changed = Changed { stations: moved, ..Changed::default() };
        for (key, object) in &facts.resources.load_balancers {
            let known = before.remove(key);
            let is_same = known.as_ref().is_some_and(|known| Arc::ptr_eq(&known.object, object));
            let health = facts.health.of(key).cloned();
            let lease = facts.leases.get(key).filter(|_| object.takes_lease()).cloned();
            let (vip_before, health_before) =
                known.as_ref().map_or((None, None), |known| (known.vip(), known.health.clone()));
            let is_lent_as_before = known.as_ref().is_some_and(|known| known.lease == lease);
            let (lb, members_before) = match known {
                Some(known) if is_same => (Some(known.lb), Some(known.members)),
                Some(known) => (checked(object), Some(known.members)),
                None => (checked(object), None),
            };
            let Some(lb) = lb else {
                changed.services.insert(key.clone());
                continue;
            };
            let vip = vip(object, &facts.leases);
            let chosen = (moved || !is_same).then(|| choose(&lb, vip));
            let (members, others) = match (members_before, chosen) {
                (Some(before), None) => (before, false),
                (Some(before), Some(members)) => {
                    let others = before != members;
                    (members, others)
                }
                (None, members) => (members.unwrap_or_default(), true),
            };
            let others = others || vip != vip_before;
            let is_as_well = health.as_ref().map(Arc::as_ptr) == health_before.as_ref().map(Arc::as_ptr);
            if others || rewired || !is_same || !is_as_well || !is_lent_as_before {
                changed.services.insert(key.clone());
            }
            changed.members |= others;
            self.all
                .insert(key.clone(), Service { object: Arc::clone(object), lb, members, vip, lease, health });
        }
        changed.members |= !before.is_empty();
        changed.services.extend(before.into_keys());
        self.add_sharers(&mut changed.services);
        changed
    }

    /// Adds those that share the address of any: what holds for it, holds for all of them.
    fn add_sharers(&self, services: &mut BTreeSet<NamespacedName>) {
        let follows = |service: &&Service| {
            let owner = service.lb.shares.as_ref();
            owner.is_some_and(|owner| services.contains(owner))
        };
        let following: Vec<_> =
            self.all.values().filter(follows).map(|service| service.lb.key.clone()).collect();
        services.extend(following);
    }

    /// Takes over how the node is wired; whether it is otherwise than it was is told.
    fn rewire(&mut self, topology: &Topology, ports: &BTreeMap<u32, AttachedPort>) -> bool {
        let rewired = self.topology != *topology || self.ports != *ports;
        if rewired {
            self.topology.clone_from(topology);
            self.ports.clone_from(ports);
        }
        rewired
    }
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
