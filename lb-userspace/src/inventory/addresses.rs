//! Who has which address, as far as servers and neighbours tell: for VMs of which nobody states it and which no guest
//! agent tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::net::Mac;

use super::leases::model::Lease;
use super::links::Topology;
use crate::model::meta::NamespacedName;
use crate::model::range::unfit;
use crate::model::shared::differing;
use crate::model::vm::{Interface, VirtualMachine, VirtualMachines};

/// Addresses by who has them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Sightings {
    /// By hardware address: what is lent, then what the node's neighbour table has.
    by_mac: BTreeMap<Mac, Vec<IpAddr>>,
    /// By host name, for names that one client alone has.
    by_name: BTreeMap<String, (Option<Mac>, Vec<IpAddr>)>,
}

impl Sightings {
    /// Of leases, the newest first, and of those neighbours whose MACs matter.
    pub(super) fn new(leases: &[Lease], topology: &Topology, macs: &BTreeSet<Mac>) -> Self {
        let mut sightings = Self::default();
        let mut shared = BTreeSet::new();
        for lease in leases {
            if let Some(mac) = lease.mac {
                put(sightings.by_mac.entry(mac).or_default(), lease.address);
            }
            if lease.hostname.is_empty() {
                continue;
            }
            let (mac, addresses) =
                sightings.by_name.entry(lease.hostname.clone()).or_insert_with(|| (lease.mac, Vec::new()));
            put(addresses, lease.address);
            // Leases of IPv6 may tell no MAC.
            match (*mac, lease.mac) {
                (Some(one), Some(other)) if one != other => _ = shared.insert(lease.hostname.clone()),
                (None, known) => *mac = known,
                (Some(_), _) => {}
            }
        }
        sightings.by_name.retain(|name, _| !shared.contains(name));
        for ((_, address), mac) in &topology.neighbours {
            if macs.contains(mac) && unfit(*address).is_none() {
                put(sightings.by_mac.entry(*mac).or_default(), *address);
            }
        }
        sightings
    }

    /// All VMs, with the addresses of interfaces of which none is known: by the MAC, or, where none is declared of the
    /// VM, by its name, if no other VM has it in another namespace: a client's name tells of no namespace.
    pub(super) fn complete(&self, vms: &mut Arc<VirtualMachines>) {
        if *self == Self::default() {
            return;
        }
        let shared = self.shared_names(vms);
        for vm in Arc::make_mut(vms).values_mut() {
            self.complete_by_mac(vm);
            if !shared.contains(&vm.name) {
                self.complete_by_name(vm);
            }
        }
    }

    /// Names of clients that VMs of several namespaces have.
    fn shared_names(&self, vms: &VirtualMachines) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let named = vms.values().filter(|vm| self.by_name.contains_key(&vm.name));
        named.filter(|vm| !seen.insert(&vm.name)).map(|vm| vm.name.clone()).collect()
    }

    fn complete_by_mac(&self, vm: &mut Arc<VirtualMachine>) {
        let is_seen = |interface: &Interface| {
            is_unknown(interface) && interface.mac.is_some_and(|mac| self.by_mac.contains_key(&mac))
        };
        if !vm.interfaces.iter().any(is_seen) {
            return;
        }
        for interface in Arc::make_mut(vm).interfaces.iter_mut().filter(|interface| is_unknown(interface)) {
            if let Some(addresses) = interface.mac.and_then(|mac| self.by_mac.get(&mac)) {
                give(interface, addresses);
            }
        }
    }

    fn complete_by_name(&self, vm: &mut Arc<VirtualMachine>) {
        let has_mac = vm.interfaces.iter().any(|interface| interface.mac.is_some());
        if has_mac || vm.interfaces.iter().any(|interface| !is_unknown(interface)) {
            return;
        }
        if let Some((mac, addresses)) = self.by_name.get(&vm.name) {
            let vm = Arc::make_mut(vm);
            if vm.interfaces.is_empty() {
                vm.interfaces.push(Interface::default());
            }
            if let Some(first) = vm.interfaces.first_mut() {
                first.mac = *mac;
                give(first, addresses);
            }
        }
    }
}

/// The MACs of interfaces whose addresses nobody states. Of ten thousand VMs, those alone are looked at that have changed.
#[derive(Default, Debug)]
pub(super) struct Unstated {
    vms: Arc<VirtualMachines>,
    of: BTreeMap<NamespacedName, Vec<Mac>>,
}

impl Unstated {
    /// Takes over who is declared.
    pub(super) fn follow(&mut self, vms: &Arc<VirtualMachines>) {
        let before = std::mem::replace(&mut self.vms, Arc::clone(vms));
        for (key, _, vm) in differing(&before, vms) {
            let interfaces = vm.into_iter().flat_map(|vm| &vm.interfaces).filter(|one| is_unknown(one));
            let macs: Vec<Mac> = interfaces.filter_map(|interface| interface.mac).collect();
            if macs.is_empty() {
                self.of.remove(key);
            } else {
                self.of.insert(key.clone(), macs);
            }
        }
    }

    pub(super) fn macs(&self) -> BTreeSet<Mac> {
        self.of.values().flatten().copied().collect()
    }
}

fn is_unknown(interface: &Interface) -> bool {
    interface.ip_address.is_empty() && interface.ip_addresses.is_empty()
}

fn give(interface: &mut Interface, addresses: &[IpAddr]) {
    interface.ip_addresses = addresses.iter().map(ToString::to_string).collect();
    interface.ip_address = interface.ip_addresses.first().cloned().unwrap_or_default();
}

fn put(addresses: &mut Vec<IpAddr>, address: IpAddr) {
    if !addresses.contains(&address) {
        addresses.push(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::family::Family;

    const fn mac(last: u8) -> Mac {
        Mac([0x52, 0x54, 0, 0, 0, last])
    }

    fn lease(last: u8, name: &str, address: &str) -> Lease {
        Lease { address: address.parse().unwrap(), mac: Some(mac(last)), hostname: name.into(), ends: None }
    }

    fn topology(neighbours: &[(u8, &str)]) -> Topology {
        let entry = |(last, address): &(u8, &str)| ((2, address.parse().unwrap()), mac(*last));
        Topology { neighbours: neighbours.iter().map(entry).collect(), ..Topology::default() }
    }

    fn vm(name: &str, interfaces: &[(Option<u8>, &str)]) -> VirtualMachine {
        let interface = |(last, address): &(Option<u8>, &str)| Interface {
            mac: last.map(mac),
            ip_address: (*address).into(),
            ..Interface::default()
        };
        let interfaces = interfaces.iter().map(interface).collect();
        VirtualMachine { name: name.into(), interfaces, ..VirtualMachine::default() }
    }

    fn station(sightings: &Sightings, vm: VirtualMachine, family: Family) -> Option<(String, Option<u8>)> {
        let mut vms = Arc::new(VirtualMachines::from([(vm.key(), vm.into())]));
        sightings.complete(&mut vms);
        let station = vms.values().find_map(|vm| vm.station(family));
        station.map(|station| (station.address.to_string(), station.mac.map(|mac| mac.0[5])))
    }

    #[test]
    fn a_vm_without_an_agent_has_the_address_that_is_lent_to_it_or_that_its_neighbours_know() {
        let leases =
            [lease(1, "", "192.0.2.12"), lease(1, "", "192.0.2.11"), lease(3, "web-3", "192.0.2.13")];
        let neighbours = topology(&[
            (1, "192.0.2.9"),
            (1, "2001:db8::11"),
            (1, "fe80::1"),
            (2, "192.0.2.22"),
            (9, "192.0.2.29"),
        ]);
        let macs = [mac(1), mac(2)].into();
        let seen = Sightings::new(&leases, &neighbours, &macs);
        let v4 = |vm| station(&seen, vm, Family::V4);
        let at = |address: &str, last| Some((address.to_owned(), last));
        assert_eq!(v4(vm("web-1", &[(Some(1), "")])), at("192.0.2.12", Some(1)), "the newest lease");
        assert_eq!(station(&seen, vm("web-1", &[(Some(1), "")]), Family::V6), at("2001:db8::11", Some(1)));
        assert_eq!(
            v4(vm("web-1", &[(Some(1), "192.0.2.99")])),
            at("192.0.2.99", Some(1)),
            "a stated one stands"
        );
        assert_eq!(v4(vm("web-2", &[(Some(2), "")])), at("192.0.2.22", Some(2)));
        assert_eq!(v4(vm("web-3", &[])), at("192.0.2.13", Some(3)), "by name");
        assert_eq!(v4(vm("web-3", &[(None, "")])), at("192.0.2.13", Some(3)));
        assert_eq!(v4(vm("web-3", &[(Some(4), "")])), None, "the name is the guest's choice, the MAC is not");
        assert_eq!(v4(vm("web-9", &[(Some(9), "")])), None, "a neighbour that nobody has asked for");
    }

    #[test]
    fn a_name_that_two_clients_have_is_nobodys() {
        let leases = [lease(1, "web", "192.0.2.11"), lease(2, "web", "192.0.2.12")];
        let seen = Sightings::new(&leases, &Topology::default(), &BTreeSet::new());
        assert_eq!(station(&seen, vm("web", &[]), Family::V4), None);
    }

    #[test]
    fn a_clients_name_is_nobodys_while_vms_of_two_namespaces_have_it() {
        let seen = Sightings::new(&[lease(1, "web", "192.0.2.11")], &Topology::default(), &BTreeSet::new());
        let stations = |declared: &[VirtualMachine]| {
            let vms: VirtualMachines = declared.iter().map(|vm| (vm.key(), vm.clone().into())).collect();
            let mut vms = Arc::new(vms);
            seen.complete(&mut vms);
            let address = |vm: &Arc<VirtualMachine>| vm.station(Family::V4).map(|s| s.address.to_string());
            vms.values().map(address).collect::<Vec<_>>()
        };
        let of = |namespace: &str, last| VirtualMachine {
            namespace: namespace.into(),
            ..vm("web", &[(last, "")])
        };
        let at = Some("192.0.2.11".to_owned());
        assert_eq!(stations(&[of("bank", None), of("shop", None)]), [None, None]);
        assert_eq!(stations(&[of("bank", None), of("shop", Some(1))]), [None, at.clone()], "the MAC tells");
        assert_eq!(stations(&[of("bank", None)]), [at]);
    }

    #[test]
    fn macs_are_wanted_of_interfaces_without_address_as_they_come_and_go() {
        let all = [vm("a", &[(Some(1), ""), (None, "")]), vm("b", &[(Some(2), "192.0.2.1")])];
        let mut vms: VirtualMachines = all.into_iter().map(|vm| (vm.key(), vm.into())).collect();
        let mut unstated = Unstated::default();
        let mut wanted = |vms: &VirtualMachines| {
            unstated.follow(&vms.clone().into());
            unstated.macs()
        };
        assert_eq!(wanted(&vms), [mac(1)].into());
        let stated = vm("a", &[(Some(1), "192.0.2.2"), (Some(3), "")]);
        vms.insert(stated.key(), stated.into());
        assert_eq!(wanted(&vms), [mac(3)].into());
        vms.retain(|_, vm| vm.name != "a");
        assert_eq!(wanted(&vms), [].into());
    }
}
