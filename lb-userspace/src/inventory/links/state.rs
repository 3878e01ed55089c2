//! Netlink messages → [`Topology`].
#![expect(clippy::wildcard_enum_match_arm, reason = "netlink grows; what is not read is left alone")]

use std::net::IpAddr;

use lb_common::net::Mac;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::model::{Link, LinkKind, Path, Topology};

/// What a message says about the routes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Routes {
    /// They are as before.
    Same,
    /// They have to be asked for again.
    Changed,
}

/// Takes in one notification or line of a dump.
pub(super) fn apply(topology: &mut Topology, message: &RouteNetlinkMessage) -> Routes {
    match message {
        RouteNetlinkMessage::NewLink(message) => put_link(topology, message),
        RouteNetlinkMessage::DelLink(message) => remove_link(topology, message),
        RouteNetlinkMessage::NewNeighbour(message) => {
            put_neighbour(topology, message);
            Routes::Same
        }
        RouteNetlinkMessage::DelNeighbour(message) => {
            remove_neighbour(topology, message);
            Routes::Same
        }
        RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewAddress(_)
        | RouteNetlinkMessage::DelAddress(_) => Routes::Changed,
        _ => Routes::Same,
    }
}

/// Bridges tell about their ports in messages of their own family, in which most is missing.
fn is_about_a_port(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Bridge
}

fn put_link(topology: &mut Topology, message: &LinkMessage) -> Routes {
    if is_about_a_port(message) {
        return Routes::Same;
    }
    let link = link(message);
    let before = topology.links.insert(link.ifindex, link.clone());
    // Switching a link on or off changes the routes through it, not always with a notice.
    if before.is_some_and(|before| before.up == link.up) { Routes::Same } else { Routes::Changed }
}

fn remove_link(topology: &mut Topology, message: &LinkMessage) -> Routes {
    if is_about_a_port(message) {
        return Routes::Same;
    }
    let gone = message.header.index;
    topology.links.remove(&gone);
    topology.neighbours.retain(|(ifindex, _), _| *ifindex != gone);
    topology.stations.retain(|_, bridges| {
        bridges.retain(|bridge, port| *bridge != gone && *port != gone);
        !bridges.is_empty()
    });
    Routes::Changed
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        kind: if message.header.flags.contains(LinkFlags::Loopback) {
            LinkKind::OtherVirtual
        } else {
            LinkKind::Physical
        },
        master: None,
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        xdp_program: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(master) => link.master = Some(*master),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::LinkInfo(infos) => link.kind = kind(infos).unwrap_or(link.kind),
            LinkAttribute::ParentDevBusName(bus) if bus == "virtio" => link.kind = LinkKind::VirtioNet,
            LinkAttribute::Xdp(parts) => link.xdp_program = xdp_program(parts),
            _ => {}
        }
    }
    link
}

fn kind(infos: &[LinkInfo]) -> Option<LinkKind> {
    let kind = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })?;
    Some(match kind {
        InfoKind::Veth => LinkKind::Veth,
        InfoKind::Tun => LinkKind::Tun,
        InfoKind::Bridge => LinkKind::Bridge,
        InfoKind::Bond => LinkKind::Bond,
        InfoKind::Vlan => LinkKind::Vlan,
        InfoKind::MacVlan | InfoKind::MacVtap | InfoKind::IpVlan | InfoKind::IpVtap => LinkKind::Macvlan,
        _ => LinkKind::OtherVirtual,
    })
}

fn xdp_program(parts: &[LinkXdp]) -> Option<u32> {
    parts.iter().find_map(|part| match part {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    })
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

/// What a message about a neighbour or a bridge's station names.
struct Subject {
    address: Option<IpAddr>,
    mac: Option<Mac>,
    bridge: Option<u32>,
}

fn subject(message: &NeighbourMessage) -> Subject {
    let mut subject = Subject { address: None, mac: None, bridge: None };
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                subject.address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                subject.address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => subject.mac = mac(bytes),
            NeighbourAttribute::Controller(bridge) => subject.bridge = Some(*bridge),
            _ => {}
        }
    }
    subject
}

fn put_neighbour(topology: &mut Topology, message: &NeighbourMessage) {
    let Subject { address, mac, bridge } = subject(message);
    let (ifindex, state) = (message.header.ifindex, message.header.state);
    if message.header.family == AddressFamily::Bridge {
        // Permanent stations are the bridge's own ports.
        if let (Some(mac), Some(bridge)) = (mac, bridge)
            && state != NeighbourState::Permanent
        {
            topology.stations.entry(mac).or_default().insert(bridge, ifindex);
        }
        return;
    }
    let Some(address) = address else { return };
    let is_known = !matches!(
        state,
        NeighbourState::None | NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::Noarp
    );
    match mac.filter(|mac| is_known && !mac.is_unset()) {
        Some(mac) => topology.neighbours.insert((ifindex, address), mac),
        None => topology.neighbours.remove(&(ifindex, address)),
    };
}

fn remove_neighbour(topology: &mut Topology, message: &NeighbourMessage) {
    let Subject { address, mac, bridge } = subject(message);
    let ifindex = message.header.ifindex;
    if let Some(address) = address {
        topology.neighbours.remove(&(ifindex, address));
    }
    if let (Some(mac), Some(bridge)) = (mac, bridge)
        && let Some(bridges) = topology.stations.get_mut(&mac)
        // It may have moved to another port already.
        && bridges.get(&bridge) == Some(&ifindex)
    {
        bridges.remove(&bridge);
        if bridges.is_empty() {
            topology.stations.remove(&mac);
        }
    }
}

/// The interfaces of a default route of the main table; none for other routes.
pub(super) fn default_route(message: &RouteMessage) -> Vec<u32> {
    let header = &message.header;
    if header.destination_prefix_length != 0
        || header.table != RouteHeader::RT_TABLE_MAIN
        || header.kind != RouteType::Unicast
    {
        return Vec::new();
    }
    let mut interfaces = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => interfaces.push(*ifindex),
            RouteAttribute::MultiPath(hops) => interfaces.extend(hops.iter().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    interfaces
}

/// The path in the kernel's answer; `None` where it would not forward.
pub(super) fn path(message: &RouteMessage) -> Option<Path> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let (mut ifindex, mut gateway) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => {
                gateway = Some(IpAddr::V4(*v4));
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
                gateway = Some(IpAddr::V6(*v6));
            }
            _ => {}
        }
    }
    Some(Path { ifindex: ifindex?, gateway })
}
