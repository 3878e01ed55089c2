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
        Self { hold_down, vms: BTreeMap::new(), holding: BTreeSet::new() }
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
            let Some(vm) = vms.get(key).filter(|vm| vm.running) else {
                self.vms.remove(key);
                continue;
            };
            let reached = self.vms.entry(key.clone()).or_default();
            reached.see(vm, now);
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
        let holding = self.holding.iter().filter_map(|key| self.vms.get(key)).flat_map(Reached::known);
        let held = holding.filter(|known| !known.is_told()).map(|known| known.station.address);
        let held: BTreeSet<IpAddr> = held.collect();
        let told = |known: &&Known| known.is_told() && held.contains(&known.station.address);
        let first = self.vms.values().flat_map(|reached| &reached.first).filter(told);
        let first: BTreeSet<IpAddr> = first.map(|known| known.station.address).collect();
        let all = self.vms.values().flat_map(|reached| &reached.all).map(|seen| &seen.known).filter(told);
        let all: BTreeSet<IpAddr> = all.map(|known| known.station.address).collect();
        self.forget(
            |known| known.is_told() || !first.contains(&known.station.address),
            |known| known.is_told() || !all.contains(&known.station.address),
        )
    }

    /// Forgets what does not stay of that which is held. Tells whose it was.
    fn forget(
        &mut self,
        first_stays: impl Fn(&Known) -> bool,
        stays: impl Fn(&Known) -> bool,
    ) -> BTreeSet<NamespacedName> {
        let mut moved = BTreeSet::new();
        self.holding.retain(|key| {
            let Some(reached) = self.vms.get_mut(key) else { return false };
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

    /// When [`Stations::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let holding = self.holding.iter().filter_map(|key| self.vms.get(key));
        holding.flat_map(Reached::vanished).map(|since| since + self.hold_down).min()
    }

    /// Forgets what has been held long enough. Tells whose it was.
    pub fn handle_timeout(&mut self, now: Instant) -> BTreeSet<NamespacedName> {
        let hold_down = self.hold_down;
        let stays = |known: &Known| known.vanished.is_none_or(|since| now < since + hold_down);
        self.forget(stays, stays)
    }

    /// The addresses at which running VMs are reached: what they tell, the held first ones, and what is held with
    /// nothing told in its place for one of the `choices`, each beside the namespace of whoever has made it.
    pub fn addresses(&self, choices: &BTreeSet<(&str, &AddressChoice)>) -> BTreeSet<IpAddr> {
        let all = self.vms.iter().flat_map(|(vm, reached)| {
            let is_chosen = move |seen: &Seen| {
                let address = seen.known.station.address;
                let nothing_told = |choice| !reached.fitting(Family::of(address), choice).any(Seen::is_told);
                let of_namespace = choices.iter().filter(|(namespace, _)| *namespace == vm.namespace);
                let mut taking = of_namespace.filter(|(_, choice)| choice.takes(&seen.interface, address));
                taking.any(|(_, choice)| nothing_told(choice))
            };
            let told_or_chosen = reached.all.iter().filter(move |seen| seen.is_told() || is_chosen(seen));
            reached.first.iter().chain(told_or_chosen.map(|seen| &seen.known))
        });
        all.map(|known| known.station.address).collect()
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

    /// Since when each held address is.
    fn vanished(&self) -> impl Iterator<Item = Instant> {
        self.known().filter_map(|known| known.vanished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inventory;
    use crate::control::select::tests::{vm, vms};
    use crate::model::range::Subnet;

    const FIRST: [u8; 4] = [192, 0, 2, 11];
    const SECOND: [u8; 4] = [192, 0, 2, 12];

    fn told(name: &str, address: &str) -> VirtualMachine {
        vm("shop", name, &[], address)
    }

    /// Facts in turn; then where the VM `a` is reached.
    fn after(steps: &[&[VirtualMachine]]) -> Option<IpAddr> {
        let now = Instant::now();
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        for step in steps {
            stations.handle_facts(&vms(step), now);
        }
        stations.of(&told("a", ""), Family::V4).map(|station| station.address)
    }

    #[test]
    fn a_vanished_address_is_held_for_a_while() {
        let start = Instant::now();
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        stations.handle_facts(&vms(&[told("a", "192.0.2.11")]), start);
        assert_eq!(stations.poll_timeout(), None);
        let silent = vms(&[told("a", "")]);
        for seconds in [100, 105] {
            stations.handle_facts(&silent, start + Duration::from_secs(seconds));
        }
        let due = start + Duration::from_secs(115);
        assert_eq!(stations.poll_timeout(), Some(due));
        assert!(stations.handle_timeout(due.checked_sub(Duration::from_nanos(1)).unwrap()).is_empty());
        assert_eq!(stations.of(&told("a", ""), Family::V4).unwrap().address, IpAddr::from(FIRST));
        assert!(!stations.handle_timeout(due).is_empty());
        assert_eq!((stations.of(&told("a", ""), Family::V4), stations.poll_timeout()), (None, None));
    }

    #[test]
    fn an_address_that_comes_back_is_held_anew_when_it_vanishes_again() {
        let start = Instant::now();
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        for (seconds, address) in [(0, "192.0.2.11"), (10, ""), (20, "192.0.2.11"), (30, "")] {
            stations.handle_facts(&vms(&[told("a", address)]), start + Duration::from_secs(seconds));
        }
        assert_eq!(stations.poll_timeout(), Some(start + Duration::from_secs(45)));
    }

    #[test]
    fn the_families_of_a_vm_vanish_one_by_one() {
        let start = Instant::now();
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        let mut both = told("a", "192.0.2.11");
        both.interfaces[0].ip_addresses = vec!["192.0.2.11".into(), "2001:db8::11".into()];
        stations.handle_facts(&vms(&[both.clone()]), start);
        stations.handle_facts(&vms(&[told("a", "192.0.2.11")]), start);
        let address = |stations: &Stations, family| Some(stations.of(&both, family)?.address.to_string());
        assert_eq!(address(&stations, Family::V6).as_deref(), Some("2001:db8::11"));
        assert!(!stations.handle_timeout(start + Inventory::HOLD_DOWN).is_empty());
        assert_eq!(address(&stations, Family::V6), None);
        assert_eq!(address(&stations, Family::V4).as_deref(), Some("192.0.2.11"));
    }

    #[test]
    fn everything_but_a_vanished_address_acts_at_once() {
        let there = [told("a", "192.0.2.11")];
        let stopped = VirtualMachine { running: false, ..told("a", "192.0.2.11") };
        assert_eq!(after(&[&there, &[told("a", "")]]), Some(FIRST.into()));
        assert_eq!(after(&[&there, &[told("a", "192.0.2.12")]]), Some(SECOND.into()));
        assert_eq!(after(&[&there, &[]]), None, "gone");
        assert_eq!(after(&[&there, &[stopped]]), None, "stopped");
        assert_eq!(after(&[&there, &[told("a", ""), told("b", "192.0.2.11")]]), None, "taken");
        assert_eq!(after(&[&[told("a", "")]]), None, "never known");
    }

    #[test]
    fn a_chosen_address_is_held_as_the_first_one_is() {
        let start = Instant::now();
        let two = |first: &str, second: &str| {
            let mut vm = told("a", first);
            vm.interfaces[0].ip_addresses = vec![second.to_owned()];
            vm
        };
        let choice = AddressChoice { interface: None, subnet: Subnet::parse("198.51.100.0/24") };
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        let chosen = |stations: &Stations| {
            stations.chosen(&told("a", ""), Family::V4, &choice).map(|station| station.address.to_string())
        };
        stations.handle_facts(&vms(&[two("192.0.2.11", "198.51.100.11")]), start);
        assert_eq!(chosen(&stations).as_deref(), Some("198.51.100.11"));
        let silent = vms(&[told("a", "192.0.2.11")]);
        stations.handle_facts(&silent, start);
        assert_eq!(chosen(&stations).as_deref(), Some("198.51.100.11"), "held");
        assert_eq!(stations.poll_timeout(), Some(start + Inventory::HOLD_DOWN));
        stations.handle_facts(&vms(&[two("192.0.2.11", "198.51.100.12")]), start);
        assert_eq!(chosen(&stations).as_deref(), Some("198.51.100.12"), "another acts at once");
        stations.handle_facts(&silent, start + Duration::from_secs(1));
        assert!(!stations.handle_timeout(start + Inventory::HOLD_DOWN).is_empty());
        assert_eq!(chosen(&stations).as_deref(), Some("198.51.100.12"), "the first one's time is over alone");
        let other = told("b", "198.51.100.12");
        stations.handle_facts(&vms(&[told("a", "192.0.2.11"), other]), start + Duration::from_secs(2));
        assert_eq!(chosen(&stations), None, "taken");
        let stopped = VirtualMachine { running: false, ..two("192.0.2.11", "198.51.100.11") };
        stations.handle_facts(&vms(&[stopped]), start + Duration::from_secs(3));
        assert_eq!((chosen(&stations), stations.addresses(&[("shop", &choice)].into()).len()), (None, 0));
    }

    #[test]
    fn a_held_address_is_one_of_a_running_vm_while_nothing_is_told_in_its_place() {
        let start = Instant::now();
        let telling = |addresses: &[&str]| {
            let mut vm = told("a", addresses[0]);
            vm.interfaces[0].ip_addresses = addresses.iter().map(|&address| address.to_owned()).collect();
            vms(&[vm])
        };
        let of = |subnet| AddressChoice { interface: None, subnet: Subnet::parse(subnet) };
        let (chosen, other) = (of("198.51.100.0/24"), of("203.0.113.0/24"));
        let reached = |stations: &Stations, namespace, choice| -> Vec<String> {
            stations.addresses(&[(namespace, choice)].into()).iter().map(IpAddr::to_string).collect()
        };
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        stations.handle_facts(&telling(&["192.0.2.11", "198.51.100.11"]), start);
        assert!(!stations.is_holding());
        stations.handle_facts(&telling(&["192.0.2.11"]), start);
        assert!(stations.is_holding());
        assert_eq!(reached(&stations, "shop", &chosen), ["192.0.2.11", "198.51.100.11"]);
        assert_eq!(reached(&stations, "shop", &other), ["192.0.2.11"], "nobody chooses it");
        assert_eq!(reached(&stations, "bank", &chosen), ["192.0.2.11"], "nobody of its namespace does");
        stations.handle_facts(&telling(&["192.0.2.12", "198.51.100.12"]), start);
        let both = ["192.0.2.12", "198.51.100.12"];
        assert_eq!(reached(&stations, "shop", &chosen), both, "both are replaced");
        stations.handle_facts(&telling(&[""]), start);
        assert_eq!(reached(&stations, "shop", &chosen), ["192.0.2.12", "198.51.100.11", "198.51.100.12"]);
        assert!(!stations.handle_timeout(start + Inventory::HOLD_DOWN).is_empty());
        assert!(reached(&stations, "shop", &chosen).is_empty());
    }
}
