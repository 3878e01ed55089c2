//! Hold-down: an address that flaps out of the facts stays for a while (decision D18).
//!
//! Only one thing is held: the address of a VM that is there, runs, and tells none (or, where a load balancer chooses
//! among them, none that it chooses). A guest agent that restarts
//! or a bridge that forgets does that, while the server goes on serving. Everything else acts at once: a VM that
//! is gone or stopped, another address, an address that another VM has now, other labels. A held address is
//! probed like any other, and a failing one takes no new flows; without a health check, nothing speaks against
//! it until the time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::counts::Counts;
use crate::model::check::AddressChoice;
use crate::model::family::Family;
use crate::model::meta::NamespacedName;
use crate::model::vm::{Station, VirtualMachine, VirtualMachines};

/// Where each running VM is reached by each address family: what the facts tell, or told until a moment ago.
#[derive(Debug)]
pub struct Stations {
    hold_down: Duration,
    vms: BTreeMap<NamespacedName, Reached>,
    /// The VMs of which an address is held.
    holding: BTreeSet<NamespacedName>,
    told: Told,
}

/// By how many VMs each address is told.
#[derive(Default, Debug)]
struct Told {
    /// As the first one of its family.
    first: Counts<IpAddr>,
    /// At all.
    any: Counts<IpAddr>,
    /// Those that nobody tells any more, or somebody tells for the first time, since this was asked last.
    turned: BTreeSet<IpAddr>,
}

impl Told {
    fn enter(&mut self, reached: &Reached) {
        reached.first_told().for_each(|address| _ = self.first.add(address));
        let turned = reached.told().filter(|address| self.any.add(*address));
        self.turned.extend(turned);
    }

    fn strike(&mut self, reached: &Reached) {
        reached.first_told().for_each(|address| _ = self.first.remove(address));
        let turned = reached.told().filter(|address| self.any.remove(*address));
        self.turned.extend(turned);
    }
}

/// Forgets what does not stay of that which is held. Tells whose it was.
fn forget(
    (vms, holding): (&mut BTreeMap<NamespacedName, Reached>, &mut BTreeSet<NamespacedName>),
    first_stays: impl Fn(&Known) -> bool,
    stays: impl Fn(&Known) -> bool,
) -> BTreeSet<NamespacedName> {
    let mut moved = BTreeSet::new();
    holding.retain(|key| {
        let Some(reached) = vms.get_mut(key) else { return false };
        let before = (reached.first.len(), reached.all.len());
        reached.first.retain(&first_stays);
        reached.all.retain(|seen| stays(&seen.known));
        if (reached.first.len(), reached.all.len()) != before {
            moved.insert(key.clone());
        }
        reached.vanished().next().is_some()
    });
    moved
}

/// Where a running VM is reached.
#[derive(Default, Debug)]
struct Reached {
    /// The first address of each family.
    first: Vec<Known>,
    /// All addresses, for load balancers that choose among them.
    all: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    interface: String,
    known: Known,
    /// The lower, the earlier in the facts.
    order: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    station: Station,
    /// When the facts ceased to tell it.
    vanished: Option<Instant>,
}

impl Seen {
    const fn is_told(&self) -> bool {
        self.known.is_told()
    }
}

impl Known {
    const fn is_told(&self) -> bool {
        self.vanished.is_none()
    }

    const fn family(&self) -> Family {
        Family::of(self.station.address)
    }
}

impl Stations {
    /// With the time that a vanished address is held.
    pub fn new(hold_down: Duration) -> Self {
        Self { hold_down, vms: BTreeMap::new(), holding: BTreeSet::new(), told: Told::default() }
    }

    /// Takes over all facts.
    pub fn handle_facts(&mut self, vms: &VirtualMachines, now: Instant) {
        let everyone = self.vms.keys().chain(vms.keys()).cloned().collect();
        self.handle_changes(vms, &everyone, now);
    }

    /// Takes over the facts about VMs that have changed. Tells whose addresses may be others: theirs, and those of VMs
    /// whose held address is over or another's.
    pub fn handle_changes(
        &mut self,
        vms: &VirtualMachines,
        changed: &BTreeSet<NamespacedName>,
        now: Instant,
    ) -> BTreeSet<NamespacedName> {
        for key in changed {
            self.holding.remove(key);
            if let Some(known) = self.vms.get(key) {
                self.told.strike(known);
            }
            let Some(vm) = vms.get(key).filter(|vm| vm.running) else {
                self.vms.remove(key);
                continue;
            };
            let reached = self.vms.entry(key.clone()).or_default();
            reached.see(vm, now);
            self.told.enter(reached);
            if reached.vanished().next().is_some() {
                self.holding.insert(key.clone());
            }
        }
        let mut moved = changed.clone();
        if self.is_holding() {
            moved.extend(self.forget_taken());
            moved.extend(self.handle_timeout(now));
        }
        moved
    }

    /// Forgets held addresses that are told of others. Tells whose they were.
    fn forget_taken(&mut self) -> BTreeSet<NamespacedName> {
        let Self { vms, holding, told: Told { first, any, .. }, .. } = self;
        let stays =
            |told: &Counts<IpAddr>, known: &Known| known.is_told() || !told.contains(&known.station.address);
        forget((vms, holding), |known| stays(first, known), |known| stays(any, known))
    }

    /// When [`Stations::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let holding = self.holding.iter().filter_map(|key| self.vms.get(key));
        holding.flat_map(Reached::vanished).map(|since| since + self.hold_down).min()
    }

    /// Forgets what has been held long enough. Tells whose it was.
    pub fn handle_timeout(&mut self, now: Instant) -> BTreeSet<NamespacedName> {
        let hold_down = self.hold_down;
        let stays = |known: &Known| known.vanished.is_none_or(|since| now < since + hold_down);
        forget((&mut self.vms, &mut self.holding), stays, stays)
    }

    /// Whether a running VM tells an address.
    pub fn is_told(&self, address: IpAddr) -> bool {
        self.told.any.contains(&address)
    }

    /// Those addresses of which [`Stations::is_told`] may say something else than when this was asked last.
    pub fn take_turned(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.told.turned)
    }

    /// The addresses at which running VMs are reached although none is told: the held first ones, and what is held with
    /// nothing told in its place for one of the `choices`, each beside the namespace of whoever has made it.
    pub fn held(&self, choices: &BTreeSet<(&str, &AddressChoice)>) -> BTreeSet<IpAddr> {
        let holding = self.holding.iter().filter_map(|key| self.vms.get_key_value(key));
        let all = holding.flat_map(|(vm, reached)| {
            let is_chosen = move |seen: &&Seen| {
                let address = seen.known.station.address;
                let nothing_told = |choice| !reached.fitting(Family::of(address), choice).any(Seen::is_told);
                let of_namespace = choices.iter().filter(|(namespace, _)| *namespace == vm.namespace);
                let mut taking = of_namespace.filter(|(_, choice)| choice.takes(&seen.interface, address));
                taking.any(|(_, choice)| nothing_told(choice))
            };
            reached.first.iter().chain(reached.all.iter().filter(is_chosen).map(|seen| &seen.known))
        });
        all.filter(|known| !known.is_told()).map(|known| known.station.address).collect()
    }

    /// Where a VM is reached by a family at an address of somebody's choice: the first that is told, else one that was
    /// told a moment ago.
    pub fn chosen(&self, vm: &VirtualMachine, family: Family, choice: &AddressChoice) -> Option<Station> {
        if choice.is_any() {
            return self.of(vm, family);
        }
        let fitting = self.vms.get(&vm.key())?.fitting(family, choice);
        fitting.min_by_key(|seen| (!seen.is_told(), seen.order)).map(|seen| seen.known.station)
    }

    /// Whether any address is held.
    pub fn is_holding(&self) -> bool {
        !self.holding.is_empty()
    }

    /// Where a VM is reached by a family.
    pub fn of(&self, vm: &VirtualMachine, family: Family) -> Option<Station> {
        let first = &self.vms.get(&vm.key())?.first;
        first.iter().find(|known| known.family() == family).map(|known| known.station)
    }
}

impl Reached {
    /// Takes over what the facts tell of a running VM.
    fn see(&mut self, vm: &VirtualMachine, now: Instant) {
        let vanish = |mut known: Known| {
            known.vanished.get_or_insert(now);
            known
        };
        let first = Family::ALL.into_iter().filter_map(|family| {
            let before = self.first.iter().find(|known| known.family() == family);
            let told = vm.station(family).map(|station| Known { station, vanished: None });
            told.or_else(|| before.copied().map(vanish))
        });
        self.first = first.collect();
        let mut gone = std::mem::take(&mut self.all);
        for (order, (interface, address)) in vm.addresses().into_iter().enumerate() {
            let known = Known { station: Station { address, mac: interface.mac }, vanished: None };
            self.all.push(Seen { interface: interface.name.clone(), known, order });
        }
        let told: BTreeSet<IpAddr> = self.all.iter().map(|seen| seen.known.station.address).collect();
        gone.retain(|seen| !told.contains(&seen.known.station.address));
        self.all.extend(gone.into_iter().map(|seen| Seen { known: vanish(seen.known), ..seen }));
    }

    /// The addresses that are of a family and as somebody chooses.
    fn fitting(&self, family: Family, choice: &AddressChoice) -> impl Iterator<Item = &Seen> {
        let fits = move |seen: &&Seen| {
            seen.known.family() == family && choice.takes(&seen.interface, seen.known.station.address)
        };
        self.all.iter().filter(fits)
    }

    fn known(&self) -> impl Iterator<Item = &Known> {
        self.first.iter().chain(self.all.iter().map(|seen| &seen.known))
    }

    /// The first addresses that are told.
    fn first_told(&self) -> impl Iterator<Item = IpAddr> {
        self.first.iter().filter(|known| known.is_told()).map(|known| known.station.address)
    }

    /// All that are told.
    fn told(&self) -> impl Iterator<Item = IpAddr> {
        self.all.iter().filter(|seen| seen.is_told()).map(|seen| seen.known.station.address)
    }

    /// Since when each held address is.
    fn vanished(&self) -> impl Iterator<Item = Instant> {
        self.known().filter_map(|known| known.vanished)
    }
}

#[cfg(test)]
mod tests;
