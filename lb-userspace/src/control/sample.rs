//! The network of a node, for tests: br0 with eth0, vnet1 and vnet2, and in0 beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::datapath::model::Mac;
use crate::inventory::links::{Link, LinkKind, Path, Topology};

pub(super) const BRIDGE: u32 = 2;
pub(super) const ETH0: u32 = 3;
pub(super) const VNET1: u32 = 4;
pub(super) const VNET2: u32 = 5;
pub(super) const IN0: u32 = 6;

/// The MAC of a link.
pub(super) fn mac(ifindex: u32) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(ifindex).unwrap()])
}

/// The MAC of a station.
pub(super) fn station(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, last])
}

fn link(ifindex: u32, name: &str, kind: LinkKind, master: Option<u32>) -> Link {
    Link {
        ifindex,
        name: name.to_owned(),
        kind,
        master,
        mac: Some(mac(ifindex)),
        mtu: 1500,
        up: true,
        xdp_program: None,
    }
}

pub(super) fn vm_host() -> Topology {
    let links = [
        link(BRIDGE, "br0", LinkKind::Bridge, None),
        link(ETH0, "eth0", LinkKind::Physical, Some(BRIDGE)),
        link(VNET1, "vnet1", LinkKind::Tun, Some(BRIDGE)),
        link(VNET2, "vnet2", LinkKind::Tun, Some(BRIDGE)),
        link(IN0, "in0", LinkKind::Physical, None),
    ];
    Topology {
        links: links.into_iter().map(|link| (link.ifindex, link)).collect(),
        default_routes: BTreeSet::from([BRIDGE]),
        ..Topology::default()
    }
}

/// Lets `address` be reached on the link of `ifindex`, or through `gateway` there, at `next_hop`.
pub(super) fn reach(
    topology: &mut Topology,
    address: IpAddr,
    ifindex: u32,
    gateway: Option<IpAddr>,
    next_hop: Mac,
) {
    topology.paths.insert(address, Path { ifindex, gateway });
    topology.neighbours.insert((ifindex, gateway.unwrap_or(address)), next_hop);
}

/// Lets br0 know a station behind one of its ports.
pub(super) fn behind(topology: &mut Topology, station: Mac, port: u32) {
    topology.stations.insert(station, BTreeMap::from([(BRIDGE, port)]));
}
