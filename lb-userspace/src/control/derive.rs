//! What services come to: desired state, whom to probe, which addresses to resolve. Only what has changed is worked
//! out anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::backend_status::were_ready;
use super::counts::Counts;
use super::cycle::{Facts, listener_addresses};
use super::desired::{Served, desired, is_checked, probes, targets};
use super::model::{Altered, Desired, ForwardingMode};
use super::select::Member;
use super::services::{Changed, Service, Services};
use crate::datapath::model::{ListenerAddress, Mac, Placement};
use crate::health::model::{OfBalancer, Target, Wanted, WantedBackends};
use crate::inventory::links::{Addresses, Topology};
use crate::model::meta::NamespacedName;
use crate::model::sorted::added;

/// What everything follows from, beside services.
pub(super) struct Context<'a> {
    pub(super) facts: &'a Facts,
    /// Of each Maglev table.
    pub(super) slots: u32,
    /// How an address is reached.
    pub(super) place: &'a dyn Fn(ForwardingMode, IpAddr, Option<Mac>) -> Placement,
}

/// What all services come to.
#[derive(Default)]
pub(super) struct Derived {
    pub(super) desired: Desired,
    pub(super) probes: WantedBackends,
    pub(super) addresses: Arc<Addresses>,
    /// Those of them that are new since they were looked at last.
    pub(super) new_addresses: BTreeSet<IpAddr>,
    /// By how many members each of them is used.
    uses: Counts<IpAddr>,
    /// Those of each load balancer's members, in order.
    reached: BTreeMap<NamespacedName, Vec<IpAddr>>,
    /// Those who use addresses of which it is not known yet where they are, as far as these are new.
    newcomers: BTreeMap<IpAddr, BTreeSet<NamespacedName>>,
    /// Load balancers that were served without any check.
    unchecked: BTreeSet<NamespacedName>,
    /// Load balancers with backends of which the prober has not told anything yet. What is desired of them is what was…
    unknown: BTreeSet<NamespacedName>,
    /// … but for these, which leave their place or take another's: the datapath is not led there yet.
    moved: BTreeSet<NamespacedName>,
    /// Load balancers of which what is desired is not worked out yet, with what that follows from; `None` where they are
    /// not served.
    unplaced: BTreeMap<NamespacedName, Option<Served>>,
    /// What each load balancer has in the desired state.
    placed: BTreeMap<NamespacedName, Place>,
}

/// The VIP, unless it is another's, and the listeners.
type Place = (Option<IpAddr>, Vec<ListenerAddress>);

impl Derived {
    /// Takes over what has changed: whom to probe and which addresses to resolve.
    pub(super) fn follow(&mut self, changed: &Changed, services: &Services, facts: &Facts) {
        let topology = &facts.topology;
        let served: Vec<Served> =
            changed.served.iter().filter_map(|lb| served(services.get(lb)?, topology)).collect();
        self.follow_probes(changed, &served, facts);
        self.follow_addresses(changed, services, topology);
        self.unplaced.extend(changed.served.iter().map(|lb| (lb.clone(), None)));
        self.unplaced.extend(served.into_iter().map(|served| (served.lb.key.clone(), Some(served))));
    }

    /// Works out what is desired of what has changed since the last time. Adds what that alters to what was altered before.
    pub(super) fn place(&mut self, services: &Services, context: &Context<'_>, altered: &mut Altered) {
        let unplaced = std::mem::take(&mut self.unplaced);
        let is_to_move = |(lb, served): (NamespacedName, Option<Served>)| {
            let place = services.get(&lb).and_then(place);
            (!self.stays(&lb, place.as_ref())).then_some((lb, (place, served)))
        };
        let moving: Vec<_> = unplaced.into_iter().filter_map(is_to_move).collect();
        for (lb, _) in &moving {
            if self.unknown.contains(lb) {
                self.moved.insert(lb.clone());
            } else {
                self.moved.remove(lb);
            }
            let Some((vip, addresses)) = self.placed.remove(lb) else { continue };
            if let Some(vip) = vip {
                self.desired.vips.remove(&vip);
                self.desired.policies.remove(&vip);
                altered.vips.insert(vip);
            }
            for address in addresses {
                self.desired.listeners.remove(&address);
                altered.listeners.insert(address);
            }
        }
        let mut served = Vec::new();
        for (lb, (place, of_lb)) in moving {
            self.placed.extend(place.map(|place| (lb, place)));
            served.extend(of_lb);
        }
        let new = desired(&served, &context.facts.health, context.slots, context.place);
        altered.listeners.extend(new.listeners.keys());
        altered.vips.extend(new.vips.keys());
        self.desired.vips.extend(new.vips);
        self.desired.policies.extend(new.policies);
        self.desired.listeners.extend(new.listeners);
    }

    /// Whether a load balancer stays as it was until more is known of its backends. One that leaves its place does not:
    /// another may have it by now. Nor does one whose place is another's up to now: that one's flows may go on with it.
    fn stays(&self, lb: &NamespacedName, place: Option<&Place>) -> bool {
        let is_free = |(own, listeners): &Place| {
            let mut vips = own.iter().chain(listeners.iter().map(|listener| &listener.vip));
            vips.all(|vip| !self.desired.vips.contains_key(vip) && !self.desired.has_listener(*vip))
        };
        let has_place =
            self.placed.get(lb).map_or_else(|| place.is_none_or(is_free), |old| Some(old) == place);
        self.unknown.contains(lb) && !self.moved.contains(lb) && has_place
    }

    /// Whether enough is known of backends to lead the datapath to what is desired.
    pub(super) fn is_known(&self) -> bool {
        self.moved.is_empty()
    }

    /// Whether everything is known of all backends.
    pub(super) fn is_all_known(&self) -> bool {
        self.unknown.is_empty()
    }

    /// Whether everything is known of the backends of a load balancer.
    pub(super) fn knows(&self, lb: &NamespacedName) -> bool {
        !self.unknown.contains(lb)
    }

    /// The load balancers that any of these addresses serves.
    pub(super) fn reaching(&self, addresses: &BTreeSet<IpAddr>) -> BTreeSet<NamespacedName> {
        // What is new is the most frequent question, and needs no look at a thousand load balancers.
        let newcomers = addresses.iter().filter_map(|address| self.newcomers.get(address));
        let mut reaching: BTreeSet<_> = newcomers.flatten().cloned().collect();
        let is_old = |address: &&IpAddr| self.uses.contains(address) && !self.newcomers.contains_key(address);
        let addresses: BTreeSet<IpAddr> = addresses.iter().filter(is_old).copied().collect();
        if addresses.is_empty() {
            return reaching;
        }
        let is_reached = |reached: &Vec<IpAddr>| {
            if reached.len() < addresses.len() {
                return reached.iter().any(|one| addresses.contains(one));
            }
            addresses.iter().any(|one| reached.binary_search(one).is_ok())
        };
        let all = self.reached.iter().filter(|(_, reached)| is_reached(reached));
        reaching.extend(all.map(|(lb, _)| lb.clone()));
        reaching
    }

    fn follow_addresses(&mut self, changed: &Changed, services: &Services, topology: &Topology) {
        let mut turned = BTreeSet::new();
        for lb in &changed.rebuilt {
            let service = services.get(lb).filter(|service| service.vip().is_some());
            let mut new: Vec<IpAddr> = service
                .iter()
                .flat_map(|service| service.members.iter().filter_map(Member::address))
                .collect();
            new.sort_unstable();
            let old = self.reached.remove(lb).unwrap_or_default();
            for &address in added(&old, &new) {
                if self.uses.add(address) {
                    turned.insert(address);
                    if !topology.settled.contains_key(&address) {
                        self.newcomers.entry(address).or_default();
                    }
                }
                if let Some(users) = self.newcomers.get_mut(&address) {
                    users.insert(lb.clone());
                }
            }
            for &address in added(&new, &old) {
                if self.uses.remove(address) {
                    turned.insert(address);
                }
            }
            if !new.is_empty() {
                self.reached.insert(lb.clone(), new);
            }
        }
        self.newcomers
            .retain(|address, _| self.uses.contains(address) && !topology.settled.contains_key(address));
        turned.retain(|address| self.uses.contains(address) != self.addresses.contains_key(address));
        if turned.is_empty() {
            return;
        }
        let addresses = Arc::make_mut(&mut self.addresses);
        addresses.retain(|address, ()| !turned.remove(address));
        addresses.extend(turned.iter().map(|address| (*address, ())));
        self.new_addresses.append(&mut turned);
    }

    fn follow_probes(&mut self, changed: &Changed, served: &[Served], facts: &Facts) {
        let rebuilt = served.iter().filter(|service| changed.rebuilt.contains(&service.lb.key));
        let wanted = probes(rebuilt, |lb| {
            let before = self.reached.get(&lb.key).filter(|_| self.unchecked.contains(&lb.key));
            if let Some(before) = before {
                return targets(lb, before.iter().copied()).map(|(target, _)| target).collect();
            }
            let object = facts.resources.load_balancers.get(&lb.key);
            let mut ready = object.map(|object| were_ready(&object.status)).unwrap_or_default();
            // What the prober may not have heard yet is said again.
            let is_told = |target| facts.health.of(&lb.key).is_some_and(|all| all.contains_key(target));
            let asked = self.probes.of(&lb.key).into_iter().flat_map(|asked| asked.iter());
            let unheard = asked.filter(|(target, wanted)| wanted.was_ready && !is_told(target));
            ready.extend(unheard.map(|(target, _)| target.clone()));
            ready
        });
        for lb in &changed.rebuilt {
            self.unchecked.remove(lb);
        }
        let unchecked = served.iter().filter(|service| !is_checked(&service.lb));
        self.unchecked.extend(unchecked.map(|service| service.lb.key.clone()));
        for lb in &changed.rebuilt {
            let new = wanted.of(lb).cloned().unwrap_or_default();
            let old = self.probes.of(lb);
            let is_same = old.map_or_else(|| new.is_empty(), |old| alike(old, &new));
            if !is_same {
                self.probes.put(lb.clone(), new);
            }
        }
        for lb in &changed.served {
            let health = facts.health.of(lb);
            let is_told = |target| health.is_some_and(|all| all.contains_key(target));
            if self.probes.of(lb).is_none_or(|wanted| wanted.keys().all(is_told)) {
                self.unknown.remove(lb);
            } else {
                self.unknown.insert(lb.clone());
            }
        }
        // What holds for an address is its owner's to say first.
        for Served { lb, .. } in served {
            if lb.shares.as_ref().is_some_and(|owner| self.unknown.contains(owner)) {
                self.unknown.insert(lb.key.clone());
            }
        }
    }
}

/// What a load balancer has in the desired state.
fn place(service: &Service) -> Option<Place> {
    let vip = service.vip()?;
    Some((service.lb.shares.is_none().then_some(vip), listener_addresses(service)))
}

/// Whether both want the same: what a backend was before it was wanted is of no interest any more.
fn alike(old: &OfBalancer<Wanted>, new: &OfBalancer<Wanted>) -> bool {
    let is_same = |((one, old), (other, new)): ((&Target, &Wanted), (&Target, &Wanted))| {
        one == other && old.check == new.check
    };
    old.len() == new.len() && old.iter().zip(new.iter()).all(is_same)
}

/// A backend is placed once it is known where it is: placed before, its first clients were masqueraded.
pub(super) fn is_settled(member: &Member, topology: &Topology) -> bool {
    member.address().is_none_or(|address| topology.settled.contains_key(&address))
}

fn served(service: &Service, topology: &Topology) -> Option<Served> {
    let vip = service.vip()?;
    let mut members = Vec::with_capacity(service.members.len());
    members.extend(service.members.iter().filter(|member| is_settled(member, topology)).cloned());
    Some(Served { lb: Arc::clone(&service.lb), vip, members })
}
