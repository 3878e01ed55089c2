//! Load balancers and who serves them, from turn to turn: what no changed fact bears on is kept as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::admission::ALLOCATED;
use super::choice::{Choice, differing};
use super::cycle::Facts;
use super::hold::Stations;
use super::leases;
use super::origin::Origin;
use super::select::Member;
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
        let moved = match &self.vms {
            Some(known) if Arc::ptr_eq(known, vms) => stations.handle_timeout(now),
            Some(known) => stations.handle_changes(vms, &differing(known, vms), now),
            None => stations.handle_changes(vms, &vms.keys().cloned().collect(), now),
        };
        self.vms = Some(Arc::clone(vms));
        let rewired = self.rewire(&facts.topology, ports);
        let objects = &facts.resources.load_balancers;
        // A status that has been stored makes another object, which chooses as before.
        let asks_as_before = |(key, object): (&NamespacedName, &Arc<LoadBalancer>)| {
            let known = self.all.get(key).map(|known| &known.object);
            known.is_some_and(|known| Arc::ptr_eq(known, object) || known.spec == object.spec)
        };
        let choosers = objects.iter().filter(|&object| !asks_as_before(object)).count();
        let choice = Choice::new(vms, stations, &moved, choosers);
        let mut before = std::mem::take(&mut self.all);
        let mut changed = Changed { stations: !moved.is_empty(), ..Changed::default() };
        for (key, object) in objects {
            let Some(Followed { service, is_new, has_others }) =
                follow(before.remove(key), object, facts, &choice)
            else {
                changed.services.insert(key.clone());
                continue;
            };
            if is_new || rewired.concerns(&service.members) {
                changed.services.insert(key.clone());
            }
            changed.members |= has_others;
            self.all.insert(key.clone(), service);
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

    /// Takes over how the node is wired. Tells whom that concerns.
    fn rewire(&mut self, topology: &Topology, ports: &BTreeMap<u32, AttachedPort>) -> Rewired {
        let concerned = if self.ports == *ports { rewired(&self.topology, topology) } else { Rewired::All };
        if !matches!(&concerned, Rewired::Addresses(addresses) if addresses.is_empty()) {
            self.topology.clone_from(topology);
            self.ports.clone_from(ports);
        }
        concerned
    }
}

/// Who is reached otherwise than before.
enum Rewired {
    /// These alone.
    Addresses(BTreeSet<IpAddr>),
    /// Maybe everyone.
    All,
}

impl Rewired {
    /// Whether any of them is.
    fn concerns(&self, members: &[Member]) -> bool {
        match self {
            Self::All => true,
            Self::Addresses(addresses) if addresses.is_empty() => false,
            Self::Addresses(addresses) => {
                members.iter().filter_map(Member::address).any(|address| addresses.contains(&address))
            }
        }
    }
}

/// An address that is new to a node of ten thousand concerns nobody else.
fn rewired(before: &Topology, after: &Topology) -> Rewired {
    let Topology { links, stations, neighbours, default_routes, paths, settled } = after;
    let is_same = (links, stations, default_routes, neighbours)
        == (&before.links, &before.stations, &before.default_routes, &before.neighbours);
    if !is_same {
        return Rewired::All;
    }
    if paths == &before.paths && settled == &before.settled {
        return Rewired::Addresses(BTreeSet::new());
    }
    let new = paths.iter().filter(|(address, path)| before.paths.get(address) != Some(path));
    let gone = before.paths.keys().filter(|address| !paths.contains_key(address));
    let others = new.map(|(address, _)| address).chain(gone);
    Rewired::Addresses(others.chain(settled.symmetric_difference(&before.settled)).copied().collect())
}

/// A service as it is now.
struct Followed {
    service: Service,
    /// Anything about it.
    is_new: bool,
    /// Another VIP, or other members or addresses of members.
    has_others: bool,
}

/// What becomes of a service; `None` if its object is not right.
fn follow(
    known: Option<Service>,
    object: &Arc<LoadBalancer>,
    facts: &Facts,
    choice: &Choice<'_>,
) -> Option<Followed> {
    let key = object.metadata.key();
    let health = facts.health.of(&key).cloned();
    let lease = facts.leases.get(&key).filter(|_| object.takes_lease()).cloned();
    let vip = vip(object, &facts.leases);
    let object = Arc::clone(object);
    let Some(known) = known else {
        let lb = checked(&object)?;
        let members = choice.among_all(&lb, family(&lb, vip));
        let service = Service { object, lb, members, vip, lease, health };
        return Some(Followed { service, is_new: true, has_others: true });
    };
    let is_same = Arc::ptr_eq(&known.object, &object);
    let family_before = family(&known.lb, known.vip);
    // A status that is stored makes another object, which asks for the same.
    let new = if is_same { None } else { Some(checked(&object)?).filter(|lb| *lb != known.lb) };
    let asks_anew = new.is_some();
    let lb = new.unwrap_or(known.lb);
    let family = family(&lb, vip);
    let chosen = if asks_anew || family != family_before {
        Some(choice.among_all(&lb, family)).filter(|members| *members != known.members)
    } else {
        choice.among_changed(&lb, family, &known.members)
    };
    let has_others = chosen.is_some() || vip != known.vip;
    let is_as_well = health.as_ref().map(Arc::as_ptr) == known.health.as_ref().map(Arc::as_ptr);
    let is_new = has_others || !is_same || !is_as_well || lease != known.lease;
    let members = chosen.unwrap_or(known.members);
    let service = Service { object, lb, members, vip, lease, health };
    Some(Followed { service, is_new, has_others })
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
