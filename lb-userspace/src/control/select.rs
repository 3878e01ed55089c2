//! Which VMs serve a load balancer (reference section 5 with decisions D18, D19).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use smol_str::SmolStr;

use super::hold::Stations;
use crate::model::check::{CheckedLoadBalancer, Workload};
use crate::model::family::Family;
use crate::model::meta::NamespacedName;
use crate::model::v1alpha1::VM_NAME;
use crate::model::vm::{Station, VirtualMachine};

/// A running VM that a load balancer's selector matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name; the namespace is the load balancer's.
    pub vm: SmolStr,
    /// Where it is reached, if that is known.
    pub station: Option<Station>,
    /// Its share of new flows, relative to the others; 0 takes none.
    pub weight: u32,
}

impl Member {
    /// Its address.
    pub fn address(&self) -> Option<IpAddr> {
        self.station.map(|station| station.address)
    }
}

/// The members of a load balancer among `vms`, in the order of their names: running VMs of its own namespace whose
/// labels match, each with its address of the VIP's family. A guest cluster's load balancer has none.
pub fn members<'a>(
    lb: &CheckedLoadBalancer,
    family: Family,
    vms: impl IntoIterator<Item = &'a VirtualMachine>,
    stations: &Stations,
) -> Vec<Member> {
    if lb.workload == Workload::Cluster {
        return Vec::new();
    }
    let matching = vms.into_iter().filter(|vm| {
        vm.running && vm.namespace == lb.key.namespace && lb.selector.matches_vm(&vm.name, &vm.labels)
    });
    let member = |vm: &VirtualMachine| Member {
        vm: vm.name.as_str().into(),
        station: stations.chosen(vm, family, &lb.backend_address),
        weight: lb.balancing.weight(vm),
    };
    let mut members: Vec<Member> = matching.map(member).collect();
    members.sort_by(|one, other| one.vm.cmp(&other.vm));
    // They are kept.
    members.shrink_to_fit();
    members
}

/// VMs by namespace and label: a thousand selectors look at those alone that may match.
pub(super) struct Labelled<'a>(BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a VirtualMachine>>);

impl<'a> Labelled<'a> {
    pub(super) fn new(vms: impl IntoIterator<Item = &'a VirtualMachine>) -> Self {
        let mut labelled = BTreeMap::<_, Vec<_>>::new();
        for vm in vms {
            for (key, value) in vm.labels.iter() {
                labelled.entry((vm.namespace.as_str(), key, value)).or_default().push(vm);
            }
            if vm.labels.get(VM_NAME).is_none() {
                labelled.entry((vm.namespace.as_str(), VM_NAME, vm.name.as_str())).or_default().push(vm);
            }
        }
        Self(labelled)
    }

    /// The VMs that have one of the labels that a load balancer's selector asks for, each once.
    pub(super) fn candidates<'b>(
        &'b self,
        lb: &'b CheckedLoadBalancer,
    ) -> impl Iterator<Item = &'a VirtualMachine> + 'b {
        let namespace = lb.key.namespace.as_str();
        let labels = lb.selector.first_labels();
        labels.filter_map(move |(key, value)| self.0.get(&(namespace, key, value))).flatten().copied()
    }
}

/// Load balancers by the labels of which their selectors ask for one: whom a VM concerns is not asked of a thousand.
#[derive(Default)]
pub(super) struct Selecting(BTreeMap<Label, BTreeSet<NamespacedName>>);

/// Namespace, key and value.
type Label = [SmolStr; 3];

fn asked_for(lb: &CheckedLoadBalancer) -> impl Iterator<Item = Label> {
    let labels = lb.selector.first_labels();
    labels.map(|(key, value)| [lb.key.namespace.as_str(), key, value].map(SmolStr::from))
}

impl Selecting {
    pub(super) fn add(&mut self, lb: &CheckedLoadBalancer) {
        for label in asked_for(lb) {
            self.0.entry(label).or_default().insert(lb.key.clone());
        }
    }

    pub(super) fn remove(&mut self, lb: &CheckedLoadBalancer) {
        for label in asked_for(lb) {
            let Entry::Occupied(mut asking) = self.0.entry(label) else { continue };
            asking.get_mut().remove(&lb.key);
            if asking.get().is_empty() {
                asking.remove();
            }
        }
    }

    /// Those of which any of these VMs may be a member.
    pub(super) fn of(&self, vms: &Labelled<'_>) -> impl Iterator<Item = &NamespacedName> {
        let labels = vms.0.keys().map(|&(namespace, key, value)| [namespace, key, value].map(SmolStr::from));
        labels.filter_map(|label| self.0.get(&label)).flatten()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Inventory;
    use crate::model::health_check::HealthCheck;
    use crate::model::load_balancer::{BackendAddress, Listener, LoadBalancer};
    use crate::model::vm::{Interface, VirtualMachine, VirtualMachines};

    /// A running VM with one interface; no address if the text is empty.
    pub(in crate::control) fn vm(
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        address: &str,
    ) -> VirtualMachine {
        VirtualMachine {
            namespace: namespace.into(),
            name: name.into(),
            labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            running: true,
            interfaces: vec![Interface { ip_address: address.into(), ..Interface::default() }],
        }
    }

    pub(in crate::control) fn vms(list: &[VirtualMachine]) -> VirtualMachines {
        list.iter().map(|vm| (vm.key(), vm.clone().into())).collect()
    }

    /// The load balancer shop/front with TCP 80 to 8080 for `app: web`.
    pub(in crate::control) fn raw_lb() -> LoadBalancer {
        let mut lb = LoadBalancer::new("shop", "front");
        let listener = Listener {
            name: "web".into(),
            port: 80,
            protocol: "TCP".into(),
            backend_port: 8080,
            ..Listener::default()
        };
        lb.spec.listeners = vec![listener];
        lb.spec.backend_server_selector = [("app".to_owned(), vec!["web".to_owned()])].into();
        lb
    }

    /// shop/front with a health check.
    pub(in crate::control) fn checked_lb() -> LoadBalancer {
        let mut lb = raw_lb();
        lb.spec.health_check = Some(HealthCheck { port: 8080, ..HealthCheck::default() });
        lb
    }

    pub(in crate::control) fn members_of(lb: &LoadBalancer, list: &[VirtualMachine]) -> Vec<Member> {
        let vms = vms(list);
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        stations.handle_facts(&vms, Instant::now());
        members(&lb.check().unwrap(), Family::V4, vms.values().map(AsRef::as_ref), &stations)
    }

    /// How many match, and how many of them have an address.
    fn counts(lb: &LoadBalancer, vm: VirtualMachine) -> (usize, usize) {
        let members = members_of(lb, &[vm]);
        (members.len(), members.iter().filter(|member| member.station.is_some()).count())
    }

    #[test]
    fn a7_members_are_running_vms_of_the_namespace_that_match() {
        let web = vm("shop", "a", &[("app", "web")], "192.0.2.11");
        assert_eq!(counts(&raw_lb(), web.clone()), (1, 1));
        let mut without_selector = raw_lb();
        without_selector.spec.backend_server_selector.clear();
        assert_eq!(counts(&without_selector, web.clone()), (0, 0));
        assert_eq!(counts(&raw_lb(), VirtualMachine { running: false, ..web }), (0, 0));
        assert_eq!(counts(&raw_lb(), vm("bank", "a", &[("app", "web")], "192.0.2.11")), (0, 0));
        assert_eq!(counts(&raw_lb(), vm("shop", "a", &[("app", "db")], "192.0.2.11")), (0, 0));
        assert_eq!(counts(&raw_lb(), vm("shop", "a", &[("app", "web")], "")), (1, 0));
    }

    #[test]
    fn a_vip_of_ipv6_is_served_by_the_addresses_of_ipv6() {
        let mut both = vm("shop", "a", &[("app", "web")], "192.0.2.11");
        both.interfaces[0].ip_addresses = vec!["192.0.2.11".into(), "fe80::11".into(), "2001:db8::11".into()];
        let vms = vms(&[both, vm("shop", "b", &[("app", "web")], "192.0.2.12")]);
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        stations.handle_facts(&vms, Instant::now());
        let members =
            members(&raw_lb().check().unwrap(), Family::V6, vms.values().map(AsRef::as_ref), &stations);
        let addresses: Vec<_> = members.iter().map(|m| m.address().map(|a| a.to_string())).collect();
        assert_eq!(addresses, [Some("2001:db8::11".to_owned()), None]);
    }

    #[test]
    fn a_guest_cluster_has_no_members() {
        let mut lb = raw_lb();
        lb.spec.workload_type = "cluster".into();
        assert_eq!(counts(&lb, vm("shop", "a", &[("app", "web")], "192.0.2.11")), (0, 0));
    }

    #[test]
    fn d19_a_load_balancer_chooses_the_address_by_interface_and_by_subnet() {
        let interface = |name: &str, main: &str, others: &[&str]| Interface {
            name: name.into(),
            ip_address: main.into(),
            ip_addresses: others.iter().map(|address| (*address).into()).collect(),
            ..Interface::default()
        };
        let mut many = vm("shop", "a", &[("app", "web")], "");
        many.interfaces = vec![
            interface("eth0", "192.0.2.11", &["192.0.2.11", "198.51.100.11"]),
            interface("eth1", "203.0.113.11", &["203.0.113.11", "203.0.113.12", "fe80::1"]),
        ];
        let chosen = |interface: &str, subnet: &str| {
            let mut lb = raw_lb();
            let (interface, subnet) = (interface.into(), subnet.into());
            lb.spec.backend_address = Some(BackendAddress { interface, subnet });
            members_of(&lb, std::slice::from_ref(&many))[0].address().map(|address| address.to_string())
        };
        for (interface, subnet, expected) in [
            ("", "", Some("192.0.2.11")),
            ("eth1", "", Some("203.0.113.11")),
            ("", "198.51.100.0/24", Some("198.51.100.11")),
            ("", "203.0.113.12/32", Some("203.0.113.12")),
            ("eth1", "203.0.113.0/24", Some("203.0.113.11")),
            ("eth1", "192.0.2.0/24", None),
            ("eth2", "", None),
            ("", "2001:db8::/32", None),
        ] {
            assert_eq!(chosen(interface, subnet).as_deref(), expected, "{interface:?} {subnet:?}");
        }
    }
}
