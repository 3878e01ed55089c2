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
    known: BTreeMap<(NamespacedName, Family), Known>,
    /// All addresses, for load balancers that choose among them.
    all: BTreeMap<(NamespacedName, IpAddr), Seen>,
}

#[derive(Debug)]
struct Seen {
    interface: String,
    station: Station,
    /// The lower, the earlier in the facts.
    order: usize,
    /// When the facts ceased to tell it.
    vanished: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    station: Station,
    /// When the facts ceased to tell it.
    vanished: Option<Instant>,
}

impl Stations {
    /// With the time that a vanished address is held.
    pub fn new(hold_down: Duration) -> Self {
        Self { hold_down, known: BTreeMap::new(), all: BTreeMap::new() }
    }

    /// Takes over all facts.
    pub fn handle_facts(&mut self, vms: &VirtualMachines, now: Instant) {
        let known = self.known.keys().map(|(vm, _)| vm).chain(self.all.keys().map(|(vm, _)| vm));
        let everyone = known.chain(vms.keys()).cloned().collect();
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
            let vm = vms.get(key).map(AsRef::as_ref).filter(|vm| vm.running);
            self.see_first(key, vm, now);
            self.see_all(key, vm, now);
        }
        let mut moved = changed.clone();
        if self.is_holding() {
            let told = self.known.values().filter(|known| known.vanished.is_none());
            let first: BTreeSet<IpAddr> = told.map(|known| known.station.address).collect();
            let told = self.all.values().filter(|seen| seen.vanished.is_none());
            let all: BTreeSet<IpAddr> = told.map(|seen| seen.station.address).collect();
            moved.extend(self.forget(
                |known| known.vanished.is_none() || !first.contains(&known.station.address),
                |seen| seen.vanished.is_none() || !all.contains(&seen.station.address),
            ));
            moved.extend(self.handle_timeout(now));
        }
        moved
    }

    fn see_first(&mut self, key: &NamespacedName, vm: Option<&VirtualMachine>, now: Instant) {
        for family in Family::ALL {
            let key = (key.clone(), family);
            match vm.map(|vm| vm.station(family)) {
                None => drop(self.known.remove(&key)),
                Some(Some(station)) => {
                    self.known.insert(key, Known { station, vanished: None });
                }
                Some(None) => {
                    if let Some(known) = self.known.get_mut(&key) {
                        known.vanished.get_or_insert(now);
                    }
                }
            }
        }
    }

    fn see_all(&mut self, key: &NamespacedName, vm: Option<&VirtualMachine>, now: Instant) {
        let least = (key.clone(), IpAddr::from([0, 0, 0, 0]));
        let mine = self.all.range(least..).take_while(|((other, _), _)| other == key);
        let before: Vec<IpAddr> = mine.map(|((_, address), _)| *address).collect();
        let mut told = BTreeSet::new();
        for (order, (interface, address)) in
            vm.map(VirtualMachine::addresses).into_iter().flatten().enumerate()
        {
            let station = Station { address, mac: interface.mac };
            let seen = Seen { interface: interface.name.clone(), station, order, vanished: None };
            self.all.insert((key.clone(), address), seen);
            told.insert(address);
        }
        for address in before.into_iter().filter(|address| !told.contains(address)) {
            let key = (key.clone(), address);
            if vm.is_none() {
                self.all.remove(&key);
            } else if let Some(seen) = self.all.get_mut(&key) {
                seen.vanished.get_or_insert(now);
            }
        }
    }

    /// Forgets what does not stay. Tells whose it was.
    fn forget(
        &mut self,
        first_stays: impl Fn(&Known) -> bool,
        stays: impl Fn(&Seen) -> bool,
    ) -> BTreeSet<NamespacedName> {
        let first = self.known.extract_if(.., |_, known| !first_stays(known)).map(|((vm, _), _)| vm);
        let mut moved: BTreeSet<NamespacedName> = first.collect();
        moved.extend(self.all.extract_if(.., |_, seen| !stays(seen)).map(|((vm, _), _)| vm));
        moved
    }

    /// When [`Stations::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let vanished = self.known.values().map(|known| known.vanished);
        let vanished = vanished.chain(self.all.values().map(|seen| seen.vanished));
        vanished.flatten().map(|since| since + self.hold_down).min()
    }

    /// Forgets what has been held long enough. Tells whose it was.
    pub fn handle_timeout(&mut self, now: Instant) -> BTreeSet<NamespacedName> {
        let hold_down = self.hold_down;
        let is_held = |vanished: Option<Instant>| vanished.is_none_or(|since| now < since + hold_down);
        self.forget(|known| is_held(known.vanished), |seen| is_held(seen.vanished))
    }

    /// The addresses at which running VMs are reached: what they tell, the held first ones, and what is held with
    /// nothing told in its place for one of the `choices`, each beside the namespace of whoever has made it.
    pub fn addresses(&self, choices: &BTreeSet<(&str, &AddressChoice)>) -> BTreeSet<IpAddr> {
        let (held, told): (Vec<_>, Vec<_>) = self.all.iter().partition(|(_, seen)| seen.vanished.is_some());
        let is_chosen = |(vm, address): &(NamespacedName, IpAddr), interface: &str| {
            choices.iter().filter(|(namespace, _)| *namespace == vm.namespace).any(|(_, choice)| {
                choice.takes(interface, *address)
                    && !self.fitting(vm, Family::of(*address), choice).any(|seen| seen.vanished.is_none())
            })
        };
        let held = held.into_iter().filter(|(key, seen)| is_chosen(key, &seen.interface));
        let first = self.known.values().map(|known| known.station.address);
        first.chain(told.into_iter().chain(held).map(|(_, seen)| seen.station.address)).collect()
    }

    /// Where a VM is reached by a family at an address of somebody's choice: the first that is told, else one that was
    /// told a moment ago.
    pub fn chosen(&self, vm: &VirtualMachine, family: Family, choice: &AddressChoice) -> Option<Station> {
        if choice.is_any() {
            return self.of(vm, family);
        }
        let key = vm.key();
        let fitting = self.fitting(&key, family, choice);
        fitting.min_by_key(|seen| (seen.vanished.is_some(), seen.order)).map(|seen| seen.station)
    }

    /// The addresses of a VM that are of a family and as somebody chooses.
    fn fitting(
        &self,
        vm: &NamespacedName,
        family: Family,
        choice: &AddressChoice,
    ) -> impl Iterator<Item = &Seen> {
        let least = (vm.clone(), IpAddr::from([0, 0, 0, 0]));
        let mine = self.all.range(least..).take_while(move |((other, _), _)| other == vm);
        let fits = move |address: IpAddr, seen: &Seen| {
            Family::of(address) == family && choice.takes(&seen.interface, address)
        };
        mine.filter(move |((_, address), seen)| fits(*address, seen)).map(|(_, seen)| seen)
    }

    /// Whether any address is held.
    pub fn is_holding(&self) -> bool {
        self.poll_timeout().is_some()
    }

    /// Where a VM is reached by a family.
    pub fn of(&self, vm: &VirtualMachine, family: Family) -> Option<Station> {
        self.known.get(&(vm.key(), family)).map(|known| known.station)
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
