//! How packets reach a backend and how its answers come back.

mod reason;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::datapath::model::{Mac, Placement};
use crate::datapath::port::{AttachedPort, Role};
use crate::inventory::links::{Link, LinkKind, Path, Topology};

use super::model::ForwardingMode;
pub use reason::Reason;

/// A placement and the reason that people see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed<'a> {
    /// For the datapath.
    pub placement: Placement,
    /// Behind a VM port of this node.
    pub is_local: bool,
    /// Where the backend is.
    pub reason: Reason<'a>,
}

/// Places a backend.
///
/// `stated` is the MAC that the VM's facts name: it wins over neighbours. `ports` are the interfaces that the
/// programs work on, by interface index.
pub fn place<'a>(
    address: IpAddr,
    stated: Option<Mac>,
    mode: ForwardingMode,
    topology: &'a Topology,
    ports: &'a BTreeMap<u32, AttachedPort>,
) -> Placed<'a> {
    let view = View { address, mode, topology, ports, path: topology.paths.get(&address).copied() };
    // The node need not have an address in the VM's network: its bridge delivers all the same.
    let behind_port = View { path: view.path.filter(|path| path.gateway.is_none()), ..view };
    let local = stated.and_then(|mac| behind_port.in_bridge(mac)).filter(|placed| placed.is_local);
    let mac = stated.filter(|_| !view.has_gateway()).or_else(|| topology.next_hop(address));
    let mut placed = local
        .or_else(|| mac.and_then(|mac| view.in_bridge(mac).or_else(|| view.by_path(mac))))
        .unwrap_or_else(|| view.unresolved());
    placed.placement.mtu = view.longest_packet(&placed.placement);
    placed
}

#[derive(Clone, Copy)]
struct View<'a> {
    address: IpAddr,
    mode: ForwardingMode,
    topology: &'a Topology,
    ports: &'a BTreeMap<u32, AttachedPort>,
    path: Option<Path>,
}

impl<'a> View<'a> {
    /// Behind a port of a bridge that knows the MAC.
    fn in_bridge(&self, mac: Mac) -> Option<Placed<'a>> {
        let (bridge, port) = self.topology.station(mac, self.path.map(|path| path.ifindex))?;
        let port = self.ports.get(&port)?;
        match port.role {
            Role::VmPort => Some(self.local(mac, bridge, port)),
            Role::Uplink | Role::Routed => Some(self.across(mac, bridge, port)),
        }
    }

    /// Behind the interface that the route names.
    fn by_path(&self, mac: Mac) -> Option<Placed<'a>> {
        let path = self.path?;
        if let Some(bridge) = self.topology.links.get(&path.ifindex)
            && bridge.kind == LinkKind::Bridge
        {
            return Some(self.somewhere_in(mac, bridge.ifindex, &bridge.name));
        }
        let port = self.ports.get(&path.ifindex)?;
        Some(match port.role {
            Role::Uplink => self.across(mac, 0, port),
            Role::Routed => self.routed(Some(mac), port),
            Role::VmPort => self.behind_routed_vm_port(mac, port),
        })
    }

    /// What fits through the interface on which packets leave for it.
    fn longest_packet(&self, placement: &Placement) -> u16 {
        let by_path = || self.path.map(|path| path.ifindex);
        let out = Some(placement.ifindex).filter(|&ifindex| ifindex != 0).or_else(by_path);
        out.and_then(|ifindex| self.topology.links.get(&ifindex)).map_or(0, Link::longest_packet)
    }

    fn masquerades_always(&self) -> bool {
        self.mode == ForwardingMode::Masquerade
    }

    fn masquerades_unless_preserve(&self) -> bool {
        self.mode != ForwardingMode::Preserve
    }

    fn has_gateway(&self) -> bool {
        self.path.is_some_and(|path| path.gateway.is_some())
    }

    fn local(&self, mac: Mac, bridge: u32, port: &'a AttachedPort) -> Placed<'a> {
        let masquerade = self.masquerades_always();
        let placement = Placement {
            mac: Some(mac),
            ifindex: port.ifindex,
            bridge,
            masquerade,
            reply_at_egress: !masquerade,
            routed: self.has_gateway(),
            ..Placement::default()
        };
        Placed { placement, is_local: true, reason: Reason::Behind(&port.name) }
    }

    fn across(&self, mac: Mac, bridge: u32, port: &'a AttachedPort) -> Placed<'a> {
        let masquerade = self.masquerades_unless_preserve();
        let placement = Placement {
            mac: Some(mac),
            ifindex: port.ifindex,
            bridge,
            masquerade,
            reply_at_egress: false,
            routed: self.has_gateway(),
            ..Placement::default()
        };
        let reason = Reason::Across { name: &port.name, has_gateway: self.has_gateway(), masquerade };
        Placed { placement, is_local: false, reason }
    }

    /// Without a MAC, the stack finds it.
    fn routed(&self, mac: Option<Mac>, port: &'a AttachedPort) -> Placed<'a> {
        let masquerade = self.masquerades_always();
        let placement = Placement {
            mac,
            // Also where tc leaves the way to the stack: a client behind this very interface gets no direct answer.
            ifindex: port.ifindex,
            bridge: 0,
            masquerade,
            reply_at_egress: !port.hook.is_xdp() && !masquerade,
            routed: true,
            ..Placement::default()
        };
        Placed { placement, is_local: false, reason: Reason::Routed(&port.name) }
    }

    /// A VM port outside any bridge: the node routes to it, and tc leaves the way to the stack.
    fn behind_routed_vm_port(&self, mac: Mac, port: &'a AttachedPort) -> Placed<'a> {
        let masquerade = self.masquerades_always();
        let placement =
            Placement { mac: Some(mac), masquerade, reply_at_egress: !masquerade, ..Placement::default() };
        Placed { placement, is_local: true, reason: Reason::RoutedBehind(&port.name) }
    }

    /// In a bridge that has not heard the MAC lately. Masquerading is right wherever it turns up.
    fn somewhere_in(&self, mac: Mac, bridge: u32, name: &'a str) -> Placed<'a> {
        let masquerade = self.masquerades_unless_preserve();
        let placement = Placement {
            mac: Some(mac),
            bridge,
            masquerade,
            reply_at_egress: !masquerade,
            routed: self.has_gateway(),
            ..Placement::default()
        };
        Placed { placement, is_local: false, reason: Reason::Somewhere(name) }
    }

    fn unresolved(&self) -> Placed<'a> {
        let routed = self.path.and_then(|path| self.ports.get(&path.ifindex));
        if let Some(port) = routed.filter(|port| port.role == Role::Routed) {
            // Wherever it is behind there, its answers come back through this node.
            return Placed { reason: Reason::Unanswered(&port.name), ..self.routed(None, port) };
        }
        let placement = Placement { masquerade: self.masquerades_unless_preserve(), ..Placement::default() };
        let reason = match self.path {
            None => Reason::NoRoute(self.address),
            Some(path) => {
                let link = self.topology.links.get(&path.ifindex);
                Reason::Unreached(link.map_or("an unknown interface", |link| &link.name))
            }
        };
        Placed { placement, is_local: false, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample::{self, BRIDGE, ETH0, IN0, VNET1, behind, reach, station};
    use crate::datapath::port::Hook;
    use ForwardingMode::{Auto, Masquerade, Preserve};

    const BACKEND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 11));
    const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn ports(hook: Hook) -> BTreeMap<u32, AttachedPort> {
        let port = |ifindex, name: &str, role, hook| {
            (ifindex, AttachedPort { ifindex, name: name.to_owned(), role, hook, reason: String::new() })
        };
        BTreeMap::from([
            port(ETH0, "eth0", Role::Uplink, hook),
            port(VNET1, "vnet1", Role::VmPort, Hook::Tc),
            port(IN0, "in0", Role::Routed, hook),
        ])
    }

    /// [`Placed`], in words.
    struct Told {
        placement: Placement,
        reason: String,
    }

    fn place(
        address: IpAddr,
        stated: Option<Mac>,
        mode: ForwardingMode,
        topology: &Topology,
        ports: &BTreeMap<u32, AttachedPort>,
    ) -> Told {
        let Placed { placement, reason, .. } = super::place(address, stated, mode, topology, ports);
        Told { placement, reason: reason.to_string() }
    }

    fn placed(topology: &Topology, mode: ForwardingMode) -> Told {
        place(BACKEND, None, mode, topology, &ports(Hook::Xdp))
    }

    #[test]
    fn a_vm_behind_a_port_of_the_bridge_is_local() {
        let mut topology = sample::vm_host();
        reach(&mut topology, BACKEND, BRIDGE, None, station(11));
        behind(&mut topology, station(11), VNET1);
        let local = Placement {
            mac: Some(station(11)),
            ifindex: VNET1,
            bridge: BRIDGE,
            reply_at_egress: true,
            mtu: 1500,
            ..Placement::default()
        };
        for mode in [Auto, Preserve] {
            assert_eq!(placed(&topology, mode).placement, local);
        }
        assert_eq!(placed(&topology, Auto).reason, "local behind vnet1");
        let masqueraded = Placement { masquerade: true, reply_at_egress: false, ..local };
        assert_eq!(placed(&topology, Masquerade).placement, masqueraded);
    }

    #[test]
    fn a_backend_of_ipv6_is_placed_like_others() {
        let backend: IpAddr = "2001:db8:1::11".parse().unwrap();
        let router: IpAddr = "fe80::1".parse().unwrap();
        let mut topology = sample::vm_host();
        let mode = |topology: &Topology| place(backend, None, Auto, topology, &ports(Hook::Xdp));
        assert_eq!(mode(&topology).reason, "unresolved: no route to 2001:db8:1::11");
        reach(&mut topology, backend, BRIDGE, None, station(11));
        behind(&mut topology, station(11), VNET1);
        assert_eq!(mode(&topology).reason, "local behind vnet1");
        reach(&mut topology, backend, ETH0, Some(router), station(1));
        let placed = mode(&topology);
        assert_eq!((placed.placement.mac, placed.placement.routed), (Some(station(1)), true));
        assert_eq!(placed.reason, "behind a router through eth0");
    }

    #[test]
    fn the_stated_mac_wins_and_needs_no_route() {
        let mut topology = sample::vm_host();
        behind(&mut topology, station(11), VNET1);
        reach(&mut topology, BACKEND, BRIDGE, None, station(99));
        let place = |topology: &Topology| {
            place(BACKEND, Some(station(11)), Auto, topology, &ports(Hook::Xdp)).placement.ifindex
        };
        assert_eq!(place(&topology), VNET1);
        topology.paths.clear();
        assert_eq!(place(&topology), VNET1);
        reach(&mut topology, BACKEND, BRIDGE, Some(GATEWAY), station(1));
        behind(&mut topology, station(1), ETH0);
        assert_eq!(place(&topology), VNET1, "the node has no address in the VM's network");
    }

    #[test]
    fn a_server_across_the_uplink_is_masqueraded_unless_forbidden() {
        let mut bridged = sample::vm_host();
        reach(&mut bridged, BACKEND, BRIDGE, None, station(11));
        behind(&mut bridged, station(11), ETH0);
        let mut plain = sample::vm_host();
        reach(&mut plain, BACKEND, ETH0, None, station(11));
        for (topology, bridge) in [(bridged, BRIDGE), (plain, 0)] {
            let expected = Placement {
                mac: Some(station(11)),
                ifindex: ETH0,
                bridge,
                masquerade: true,
                mtu: 1500,
                ..Placement::default()
            };
            let auto = placed(&topology, Auto);
            assert_eq!(
                (auto.placement, auto.reason.as_str()),
                (expected, "on the same network through eth0")
            );
            let preserve = placed(&topology, Preserve);
            assert!(!preserve.placement.masquerade);
            assert!(preserve.reason.contains("must come back through this node"), "{}", preserve.reason);
        }
    }

    #[test]
    fn a_gateway_across_the_uplink_is_the_next_hop() {
        let mut topology = sample::vm_host();
        reach(&mut topology, BACKEND, BRIDGE, Some(GATEWAY), station(1));
        behind(&mut topology, station(1), ETH0);
        let placed = place(BACKEND, Some(station(11)), Auto, &topology, &ports(Hook::Xdp));
        assert_eq!((placed.placement.mac, placed.placement.routed), (Some(station(1)), true));
        assert_eq!(placed.reason, "behind a router through eth0");
    }

    #[test]
    fn behind_a_routed_interface_xdp_redirects_and_tc_leaves_it_to_the_stack() {
        let mut topology = sample::vm_host();
        reach(&mut topology, BACKEND, IN0, None, station(11));
        let by_xdp = Placement {
            mac: Some(station(11)),
            ifindex: IN0,
            routed: true,
            mtu: 1500,
            ..Placement::default()
        };
        let by_tc = Placement { reply_at_egress: true, ..by_xdp };
        for (hook, expected) in [(Hook::Xdp, by_xdp), (Hook::XdpGeneric, by_xdp), (Hook::Tc, by_tc)] {
            let placed = place(BACKEND, None, Auto, &topology, &ports(hook));
            assert_eq!((placed.placement, placed.reason.as_str()), (expected, "routed through in0"));
        }
        let masqueraded = place(BACKEND, None, Masquerade, &topology, &ports(Hook::Tc)).placement;
        assert!(masqueraded.masquerade && !masqueraded.reply_at_egress);
    }

    #[test]
    fn a_backend_that_nobody_knows_is_left_to_the_stack() {
        let mut topology = sample::vm_host();
        let unresolved = Placement { masquerade: true, ..Placement::default() };
        let placed_nowhere = placed(&topology, Auto);
        assert_eq!(placed_nowhere.placement, unresolved);
        assert_eq!(placed_nowhere.reason, "unresolved: no route to 192.0.2.11");
        reach(&mut topology, BACKEND, BRIDGE, None, station(11));
        topology.neighbours.clear();
        assert_eq!(placed(&topology, Auto).placement, Placement { mtu: 1500, ..unresolved });
    }

    #[test]
    fn an_unresolved_server_behind_a_routed_interface_still_sees_the_client() {
        let mut topology = sample::vm_host();
        reach(&mut topology, BACKEND, IN0, None, station(11));
        topology.neighbours.clear();
        let placed = placed(&topology, Auto);
        let unresolved =
            Placement { mac: None, ifindex: IN0, routed: true, mtu: 1500, ..Placement::default() };
        assert_eq!(placed.placement, unresolved);
        assert_eq!(placed.reason, "unresolved: no answer through in0");
        assert!(place(BACKEND, None, Masquerade, &topology, &ports(Hook::Tc)).placement.masquerade);
    }

    #[test]
    fn a_station_that_the_bridge_forgot_is_delivered_by_mac() {
        let mut topology = sample::vm_host();
        reach(&mut topology, BACKEND, BRIDGE, None, station(11));
        let placed = placed(&topology, Auto);
        assert_eq!((placed.placement.bridge, placed.placement.ifindex), (BRIDGE, 0));
        assert!(placed.placement.masquerade);
    }

    #[test]
    fn a_packet_may_be_as_long_as_the_way_out_carries() {
        let mut topology = sample::vm_host();
        let set = |topology: &mut Topology, ifindex, mtu| {
            topology.links.get_mut(&ifindex).unwrap().mtu = mtu;
        };
        reach(&mut topology, BACKEND, BRIDGE, None, station(11));
        set(&mut topology, BRIDGE, 1400);
        set(&mut topology, VNET1, 9000);
        let mtu = |topology: &Topology| placed(topology, Auto).placement.mtu;
        assert_eq!(mtu(&topology), 1400, "the bridge does not know its port yet");
        behind(&mut topology, station(11), VNET1);
        assert_eq!(mtu(&topology), 9000);
        set(&mut topology, VNET1, 65_536);
        assert_eq!(mtu(&topology), u16::MAX, "no IP packet is longer");
        topology.paths.clear();
        topology.stations.clear();
        assert_eq!(mtu(&topology), 0, "no way out");
    }
}
