//! Addresses by DHCP: which are wanted where, and what of them is to be stored.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::Timestamp;

use super::registry::LeaseWrite;
use super::resources::Resources;
use super::status;
use crate::config::{Dhcp, Interfaces, Network};
use crate::datapath::model::VipPolicy;
use crate::inventory::links::{Link, Topology};
use crate::ipam::dhcp::left;
use crate::ipam::dhcp::model::{Facts, Lease, Place, Stored, Wanted, Wish};
use crate::model::load_balancer::{LoadBalancer, LoadBalancerStatus};
use crate::model::meta::{NamespacedName, ObjectMeta};
use crate::model::shared::differing;

/// Where addresses can be asked for.
pub(super) struct Networks<'a> {
    pub(super) dhcp: &'a Dhcp,
    pub(super) interfaces: &'a Interfaces,
    pub(super) topology: &'a Arc<Topology>,
}

/// What is wanted, from turn to turn: of a thousand load balancers, most ask for nothing new.
#[derive(Default)]
pub(super) struct Lending {
    resources: Arc<Resources>,
    topology: Arc<Topology>,
    wanted: Arc<Wanted>,
}

impl Lending {
    /// What is wanted now.
    pub(super) fn follow(&mut self, resources: &Arc<Resources>, networks: &Networks<'_>) -> Arc<Wanted> {
        let before = std::mem::replace(&mut self.resources, Arc::clone(resources));
        let (old, new) = (&self.topology, networks.topology);
        let is_wired =
            Arc::ptr_eq(old, new) || (&old.links, &old.default_routes) == (&new.links, &new.default_routes);
        self.topology = Arc::clone(networks.topology);
        if !is_wired || before.leases != resources.leases || asks_anew(&before, resources) {
            self.wanted = wanted(resources, networks).into();
        }
        Arc::clone(&self.wanted)
    }
}

/// Whether any load balancer is in another network, takes an address otherwise, or has another of a pool.
fn asks_anew(before: &Resources, after: &Resources) -> bool {
    let asks = |object: &Arc<LoadBalancer>| {
        (object.takes_lease(), allocated(object), object.metadata.annotation("network").to_owned())
    };
    let differing = differing(&before.load_balancers, &after.load_balancers);
    differing.into_iter().any(|(_, old, new)| old.map(asks) != new.map(asks))
}

/// A lease for every load balancer that takes its address by DHCP; what is left of others is given back.
fn wanted(resources: &Resources, networks: &Networks<'_>) -> Wanted {
    let mut wanted = Wanted::default();
    for (lb, object) in &resources.load_balancers {
        if object.takes_lease() {
            let stored = resources.leases.get(lb).map(|lease| networks.stored(lease));
            let place = networks.place(&object.metadata);
            wanted.wishes.insert(lb.clone(), Wish::Keep { place, stored });
        } else if let Some(IpAddr::V4(address)) = allocated(object) {
            wanted.served.insert(address);
        }
    }
    for (lb, stored) in &resources.leases {
        wanted.wishes.entry(lb.clone()).or_insert_with(|| Wish::Release(networks.stored(stored)));
    }
    wanted
}

/// Whether the clients have told about everything that is wanted of them.
pub(super) fn are_known(wanted: &Wanted, facts: &Facts) -> bool {
    wanted.wishes.keys().all(|lb| facts.contains_key(lb))
}

/// VIPs among those that the datapath holds whose lease has ended, by whatever is known: what its client tells,
/// and before that what is stored. Somebody else may have the address.
pub(super) fn ended<'a>(
    held: impl IntoIterator<Item = (&'a IpAddr, &'a VipPolicy)>,
    resources: &Resources,
    facts: &Facts,
    moment: Timestamp,
) -> BTreeSet<IpAddr> {
    let leased = held.into_iter().filter(|(_, policy)| policy.leased);
    let leased: BTreeSet<IpAddr> = leased.map(|(vip, _)| *vip).collect();
    if leased.is_empty() {
        return leased;
    }
    let lent = |object: &Arc<LoadBalancer>| -> Option<IpAddr> {
        let lb = object.metadata.key();
        let address = match facts.get(&lb) {
            Some(state) => state.address()?,
            None => resources.leases.get(&lb).filter(|lease| !lease.is_over(moment))?.address,
        };
        object.takes_lease().then_some(address.into())
    };
    let lent: BTreeSet<IpAddr> = resources.load_balancers.values().filter_map(lent).collect();
    leased.difference(&lent).copied().collect()
}

/// The statuses of load balancers whose lease has ended, as far as they tell of the address.
pub(super) fn lost(
    resources: &Resources,
    facts: &Facts,
    moment: Timestamp,
) -> Vec<(NamespacedName, LoadBalancerStatus)> {
    let lost = |(lb, object): (&NamespacedName, &Arc<LoadBalancer>)| {
        let state = facts.get(lb).filter(|state| object.takes_lease() && state.address().is_none())?;
        let is_told = object.status.address.is_empty();
        (!is_told).then(|| (lb.clone(), status::without_address(&object.status, state, moment)))
    };
    resources.load_balancers.iter().filter_map(lost).collect()
}

/// The leases that are not stored as they should be.
pub(super) fn unstored(resources: &Resources, facts: &Facts) -> Vec<LeaseWrite> {
    let is_due = |(lb, lease): &LeaseWrite| {
        resources.leases.get(lb) != lease.as_ref()
            && (lease.is_none() || left::is_key(lb) || resources.load_balancers.contains_key(lb))
    };
    facts.iter().map(|(lb, state)| (lb.clone(), state.lease.clone())).filter(is_due).collect()
}

/// The address of a load balancer that takes it by DHCP: what is held, once it is stored.
pub(super) fn vip(object: &LoadBalancer, facts: &Facts) -> Option<IpAddr> {
    let held = facts.get(&object.metadata.key())?.address()?;
    let stored: Ipv4Addr = object.status.address.parse().ok()?;
    (held == stored).then_some(held.into())
}

fn allocated(object: &LoadBalancer) -> Option<IpAddr> {
    object.status.allocated_address.as_ref()?.ip.parse().ok()
}

impl Networks<'_> {
    /// Where a load balancer asks: in the network that its annotation names, else in that of the node.
    fn place(&self, metadata: &ObjectMeta) -> Result<Place, String> {
        let network = metadata.annotation("network");
        if let Some(Network { interface, vlan }) = self.dhcp.networks.get(network) {
            let link = self.topology.link(interface);
            return link
                .map(|link| self.at(link, *vlan))
                .ok_or_else(|| format!("network {network:?}: there is no interface {interface:?}"));
        }
        if !network.is_empty() {
            return Err(format!("network {network:?} is not in the configuration's dhcp.networks"));
        }
        if let Some(interface) = &self.dhcp.interface {
            let link = self.topology.link(interface);
            return link
                .map(|link| self.at(link, 0))
                .ok_or_else(|| format!("dhcp.interface: there is no interface {interface:?}"));
        }
        let link = self.uplink().ok_or_else(|| "this node has no uplink to ask on".to_owned())?;
        // Servers in VMs are behind the bridge, too.
        Ok(self.at(self.topology.bridge_of(link).unwrap_or(link), 0))
    }

    /// A lease, and where it was obtained, if that is still there.
    fn stored(&self, lease: &Lease) -> Stored {
        let link = self.topology.link(&lease.interface).filter(|link| link.up);
        Stored { lease: lease.clone(), place: link.map(|link| self.at(link, lease.vlan)) }
    }

    fn uplink(&self) -> Option<&Link> {
        match &self.interfaces.uplinks {
            Some(names) => names.iter().find_map(|name| self.topology.link(name)),
            None => self.topology.default_routes.iter().find_map(|ifindex| self.topology.links.get(ifindex)),
        }
    }

    /// The MAC is the one that answers ARP for VIPs: the bridge's, where the interface is in one.
    fn at(&self, link: &Link, vlan: u16) -> Place {
        let mac = self.topology.bridge_of(link).unwrap_or(link).mac.unwrap_or_default();
        let interface = link.name.clone();
        Place { interface, mac, link: crate::ipam::dhcp::model::Link { ifindex: link.ifindex, vlan } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample::{self, BRIDGE, IN0, mac};
    use crate::ipam::dhcp::machine::Phase;
    use crate::ipam::dhcp::model::State;
    use crate::model::load_balancer::AllocatedAddress;
    use crate::model::meta::GROUP;

    fn by_dhcp(name: &str, network: &str) -> LoadBalancer {
        let mut object = LoadBalancer::new("shop", name);
        object.spec.ipam = "dhcp".to_owned();
        if !network.is_empty() {
            object.metadata.annotations.insert(format!("{GROUP}/network"), network.to_owned());
        }
        object
    }

    fn lease() -> Lease {
        Lease {
            address: [192, 0, 2, 100].into(),
            server: [192, 0, 2, 1].into(),
            server_mac: [2, 0, 0, 0, 0, 1],
            mask: None,
            router: None,
            interface: "in0".to_owned(),
            vlan: 7,
            length: None,
            renew_at: None,
            rebind_at: None,
            expires_at: None,
        }
    }

    fn resources(objects: Vec<LoadBalancer>) -> Resources {
        let load_balancers = objects.into_iter().map(|object| (object.metadata.key(), object.into()));
        Resources { load_balancers: load_balancers.collect(), ..Resources::default() }
    }

    fn wanted(resources: &Resources, dhcp: &Dhcp) -> Wanted {
        let (interfaces, topology) = (Interfaces::default(), sample::vm_host().into());
        super::wanted(resources, &Networks { dhcp, interfaces: &interfaces, topology: &topology })
    }

    fn place(wanted: &Wanted, name: &str) -> Result<Place, String> {
        match &wanted.wishes[&NamespacedName::new("shop", name)] {
            Wish::Keep { place, .. } => place.clone(),
            Wish::Release(stored) => stored.place.clone().ok_or_else(String::new),
        }
    }

    #[test]
    fn addresses_are_asked_for_in_the_load_balancers_network() {
        let network = |interface: &str, vlan| Network { interface: interface.to_owned(), vlan };
        let networks = [("lab/vlan7", network("eth0", 7)), ("lab/gone", network("eth9", 0))];
        let networks = networks.map(|(name, network)| (name.to_owned(), network)).into();
        let dhcp = Dhcp { networks, ..Dhcp::default() };
        let names = ["", "lab/vlan7", "lab/gone", "lab/other"];
        let objects =
            names.iter().enumerate().map(|(index, network)| by_dhcp(&format!("lb{index}"), network));
        let resources = resources(objects.collect());
        let found = wanted(&resources, &dhcp);
        let node = place(&found, "lb0").unwrap();
        assert_eq!((node.interface.as_str(), node.link.ifindex, node.link.vlan), ("br0", BRIDGE, 0));
        let tagged = place(&found, "lb1").unwrap();
        assert_eq!((tagged.interface.as_str(), tagged.link.vlan), ("eth0", 7));
        assert_eq!(tagged.mac, mac(BRIDGE), "the one that answers ARP");
        assert!(place(&found, "lb2").unwrap_err().contains("eth9"));
        assert!(place(&found, "lb3").unwrap_err().contains("dhcp.networks"));
        let dhcp = Dhcp { interface: Some("in0".to_owned()), ..Dhcp::default() };
        let node = place(&wanted(&resources, &dhcp), "lb0").unwrap();
        assert_eq!((node.link.ifindex, node.mac), (IN0, mac(IN0)));
    }

    #[test]
    fn what_nobody_has_any_more_is_given_back_where_it_was_obtained() {
        let mut pooled = LoadBalancer::new("shop", "pooled");
        pooled.status.allocated_address =
            Some(AllocatedAddress { ip: "192.0.2.200".to_owned(), ..AllocatedAddress::default() });
        let mut guest = by_dhcp("guest", "");
        guest.spec.workload_type = "cluster".to_owned();
        let mut resources = resources(vec![pooled, guest, by_dhcp("kept", "")]);
        for name in ["pooled", "guest", "gone", "kept"] {
            resources.leases.insert(NamespacedName::new("shop", name), lease());
        }
        let wanted = wanted(&resources, &Dhcp::default());
        let released =
            |name: &str| matches!(wanted.wishes[&NamespacedName::new("shop", name)], Wish::Release(_));
        assert_eq!(["pooled", "guest", "gone", "kept"].map(released), [true, true, true, false]);
        let place = place(&wanted, "gone").unwrap();
        assert_eq!((place.link.ifindex, place.link.vlan), (IN0, 7));
        assert_eq!(wanted.served, [[192, 0, 2, 200].into()].into());
    }

    #[test]
    fn an_address_is_served_once_it_is_held_and_stored() {
        let state = |is_held| State { phase: Phase::Bound, is_held, lease: Some(lease()), problem: None };
        let facts = |is_held| Facts::from([(NamespacedName::new("shop", "front"), state(is_held))]);
        let mut front = by_dhcp("front", "");
        assert_eq!(vip(&front, &facts(true)), None);
        front.status.address = "192.0.2.100".to_owned();
        assert_eq!(vip(&front, &facts(true)), Some([192, 0, 2, 100].into()));
        assert_eq!(vip(&front, &facts(false)), None);
        assert_eq!(vip(&front, &Facts::new()), None);
        front.status.address = "192.0.2.101".to_owned();
        assert_eq!(vip(&front, &facts(true)), None);
    }

    #[test]
    fn leases_are_stored_while_their_load_balancer_exists_and_removed_once_given_back() {
        let key = NamespacedName::new("shop", "front");
        let state = |lease| State { phase: Phase::Bound, is_held: true, lease, problem: None };
        let held = Facts::from([(key.clone(), state(Some(lease())))]);
        let given_back = Facts::from([(key.clone(), state(None))]);
        let mut with = resources(vec![by_dhcp("front", "")]);
        assert_eq!(unstored(&with, &held), [(key.clone(), Some(lease()))]);
        assert_eq!(unstored(&Resources::default(), &held), []);
        with.leases.insert(key.clone(), lease());
        assert_eq!(unstored(&with, &held), []);
        assert_eq!(unstored(&with, &given_back), [(key.clone(), None)]);
        // What it left in another network outlives it.
        let left = left::key(&key, lease().network());
        let facts = Facts::from([(left.clone(), state(Some(lease())))]);
        assert_eq!(unstored(&Resources::default(), &facts), [(left, Some(lease()))]);
    }
}
