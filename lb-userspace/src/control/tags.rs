//! The VLANs of VIPs: an address of a pool is in the VLAN of the pool's network.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::resources::Resources;
use crate::config::Dhcp;

/// Them, from turn to turn.
#[derive(Default)]
pub(super) struct Tags {
    resources: Arc<Resources>,
    by_vip: BTreeMap<IpAddr, u16>,
}

impl Tags {
    /// Takes over the pools. Returns whether any address is in another VLAN.
    pub(super) fn follow(&mut self, resources: &Arc<Resources>, dhcp: &Dhcp) -> bool {
        let before = std::mem::replace(&mut self.resources, Arc::clone(resources));
        if Arc::ptr_eq(&before, resources) || before.pools == resources.pools {
            return false;
        }
        let by_vip = by_vip(resources, dhcp);
        let has_changed = by_vip != self.by_vip;
        self.by_vip = by_vip;
        has_changed
    }

    /// The VLAN of a VIP; 0 is none.
    pub(super) fn of(&self, vip: &IpAddr) -> u16 {
        self.by_vip.get(vip).copied().unwrap_or_default()
    }
}

fn by_vip(resources: &Resources, dhcp: &Dhcp) -> BTreeMap<IpAddr, u16> {
    let mut by_vip = BTreeMap::new();
    for pool in resources.pools.values() {
        let network = dhcp.networks.get(&pool.spec.selector.network);
        if let Some(network) = network.filter(|network| network.vlan != 0) {
            let allocated = pool.status.allocated.keys().filter_map(|address| address.parse().ok());
            by_vip.extend(allocated.map(|address: IpAddr| (address, network.vlan)));
        }
    }
    by_vip
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;
    use crate::model::ip_pool::IpPool;

    fn pool(network: &str, addresses: &[&str]) -> IpPool {
        let mut pool = IpPool::new(network);
        pool.spec.selector.network = network.to_owned();
        let allocated = addresses.iter().map(|address| ((*address).to_owned(), "shop/front".to_owned()));
        pool.status.allocated = allocated.collect();
        pool
    }

    fn resources(pools: &[IpPool]) -> Arc<Resources> {
        let pools = pools.iter().map(|pool| (pool.metadata.name.clone(), pool.clone())).collect();
        Arc::new(Resources { pools, ..Resources::default() })
    }

    #[test]
    fn a_vip_is_in_the_vlan_of_its_pools_network() {
        let network = |vlan| Network { interface: "eth0".to_owned(), vlan };
        let networks = [("lab/vlan7", network(7)), ("lab/plain", network(0))];
        let networks = networks.map(|(name, network)| (name.to_owned(), network)).into();
        let dhcp = Dhcp { networks, ..Dhcp::default() };
        let mut tags = Tags::default();
        let others = [pool("lab/plain", &["192.0.2.80"]), pool("", &["192.0.2.81"])];
        assert!(!tags.follow(&resources(&others), &dhcp));
        let tagged = pool("lab/vlan7", &["192.0.2.82", "2001:db8::82"]);
        let all = resources(&[others.as_slice(), &[tagged]].concat());
        assert!(tags.follow(&all, &dhcp));
        assert!(!tags.follow(&all, &dhcp), "nothing is new");
        let of = ["192.0.2.80", "192.0.2.81", "192.0.2.82", "2001:db8::82", "192.0.2.83"];
        assert_eq!(of.map(|vip| tags.of(&vip.parse().unwrap())), [0, 0, 7, 7, 0]);
        assert!(tags.follow(&resources(&others), &dhcp), "it is free again");
        assert_eq!(tags.of(&[192, 0, 2, 82].into()), 0);
    }
}
