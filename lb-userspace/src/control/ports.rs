//! Which interface gets which role.

use std::collections::BTreeMap;

use crate::config::{Hook, Interfaces};
use crate::datapath::port::{Port, Role};
use crate::inventory::links::{Link, LinkKind, Topology};

/// The interfaces to serve, and what is wrong with the configured ones.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Assignment {
    /// By interface index.
    pub ports: BTreeMap<u32, Port>,
    /// At start these are errors; later they are waited for.
    pub problems: Vec<InterfaceProblem>,
}

/// Why a configured interface gets no role.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterfaceProblem {
    /// A name that no interface has.
    #[error("{field}: there is no interface {name:?} on this node; see `ip link` for those that there are")]
    Missing {
        /// The field of the configuration.
        field: &'static str,
        /// The name in it.
        name: String,
    },
    /// A bridge to which nothing but VMs is connected.
    #[error(
        "{field}: bridge {name:?} has no port that leads to the network; enslave one, or name another uplink"
    )]
    BridgeWithoutUplink {
        /// The field of the configuration.
        field: &'static str,
        /// The bridge.
        name: String,
    },
    /// A port of a bond, whose frames the bond takes.
    #[error(
        "{field}: {name:?} is a port of the bond {bond:?}, which takes its frames; name {bond:?} instead"
    )]
    BondPort {
        /// The field of the configuration.
        field: &'static str,
        /// The name in it.
        name: String,
        /// The bond.
        bond: String,
    },
    /// Nothing is configured and nothing was found.
    #[error("interfaces.uplinks: this node has no default route to find the uplink by; name the interfaces")]
    NoDefaultRoute,
}

const UPLINKS: &str = "interfaces.uplinks";
const ROUTED: &str = "interfaces.routed";

/// Gives roles to interfaces. Named ones go before patterns, uplinks before routed ones.
pub fn assign(topology: &Topology, interfaces: &Interfaces) -> Assignment {
    let mut assignment = Assignment::default();
    let is_vm_port = |link: &Link| {
        link.kind != LinkKind::Bridge && interfaces.vm_ports.iter().any(|pattern| pattern.matches(&link.name))
    };

    let (uplinks, problems) = uplinks(topology, interfaces, is_vm_port);
    assignment.problems = problems;
    for link in uplinks {
        assignment.add(topology, link, Role::Uplink, interfaces.hook_of(&link.name));
    }
    for name in &interfaces.routed {
        match named(topology, ROUTED, name) {
            Ok(link) => assignment.add(topology, link, Role::Routed, interfaces.hook_of(name)),
            Err(problem) => assignment.problems.push(problem),
        }
    }
    for link in topology.links.values().filter(|link| is_vm_port(link)) {
        assignment.add(topology, link, Role::VmPort, Hook::Tc);
    }
    assignment
}

/// The link with a configured name. A bond hands frames on as its own, so its ports are not worked on.
fn named<'a>(topology: &'a Topology, field: &'static str, name: &str) -> Result<&'a Link, InterfaceProblem> {
    let name = || name.to_owned();
    let link = topology.link(&name()).ok_or_else(|| InterfaceProblem::Missing { field, name: name() })?;
    match topology.bond_of(link) {
        Some(bond) => Err(InterfaceProblem::BondPort { field, name: name(), bond: bond.name.clone() }),
        None => Ok(link),
    }
}

fn uplinks<'a>(
    topology: &'a Topology,
    interfaces: &Interfaces,
    is_vm_port: impl Fn(&Link) -> bool,
) -> (Vec<&'a Link>, Vec<InterfaceProblem>) {
    let mut problems = Vec::new();
    let leading: Vec<&Link> = match &interfaces.uplinks {
        Some(names) => names
            .iter()
            .filter_map(|name| named(topology, UPLINKS, name).map_err(|problem| problems.push(problem)).ok())
            .collect(),
        None => topology.default_routes.iter().filter_map(|ifindex| topology.links.get(ifindex)).collect(),
    };
    if interfaces.uplinks.is_none() && leading.is_empty() {
        problems.push(InterfaceProblem::NoDefaultRoute);
    }
    let mut uplinks = Vec::new();
    for link in leading {
        if link.kind != LinkKind::Bridge {
            uplinks.push(link);
            continue;
        }
        let is_routed = |port: &Link| interfaces.routed.contains(&port.name);
        let before = uplinks.len();
        uplinks.extend(topology.ports_of(link.ifindex).filter(|port| !is_vm_port(port) && !is_routed(port)));
        if uplinks.len() == before {
            problems.push(InterfaceProblem::BridgeWithoutUplink { field: UPLINKS, name: link.name.clone() });
        }
    }
    (uplinks, problems)
}

impl Assignment {
    fn add(&mut self, topology: &Topology, link: &Link, role: Role, hook: Hook) {
        let bridge = topology.bridge_of(link);
        let mac = bridge.unwrap_or(link).mac.unwrap_or_default();
        self.ports.entry(link.ifindex).or_insert_with(|| Port {
            ifindex: link.ifindex,
            name: link.name.clone(),
            role,
            hook,
            is_virtual: link.kind.is_virtual(),
            without_native_xdp: link.kind.without_native_xdp(),
            partial_checksums: link.kind.has_partial_checksums(),
            bridge: bridge.map_or(0, |bridge| bridge.ifindex),
            mac,
            mtu: link.longest_packet(),
            xdp_program: link.xdp_program,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InterfacePattern;
    use crate::control::sample::{self, BRIDGE, ETH0, IN0, VNET1, VNET2};

    fn interfaces() -> Interfaces {
        Interfaces {
            vm_ports: vec![InterfacePattern::new_checked("vnet*").unwrap()],
            ..Interfaces::default()
        }
    }

    fn roles(assignment: &Assignment) -> Vec<(u32, Role)> {
        assignment.ports.values().map(|port| (port.ifindex, port.role)).collect()
    }

    #[test]
    fn the_uplink_is_the_bridge_port_of_the_default_route() {
        let assignment = assign(&sample::vm_host(), &interfaces());
        assert_eq!(roles(&assignment), [(ETH0, Role::Uplink), (VNET1, Role::VmPort), (VNET2, Role::VmPort)]);
        assert_eq!(assignment.problems, []);
        let uplink = &assignment.ports[&ETH0];
        assert_eq!((uplink.bridge, uplink.mac), (BRIDGE, sample::mac(BRIDGE)));
    }

    #[test]
    fn named_interfaces_go_before_patterns() {
        let named = Interfaces {
            uplinks: Some(vec!["vnet1".to_owned()]),
            routed: vec!["in0".to_owned(), "vnet1".to_owned()],
            ..interfaces()
        };
        let assignment = assign(&sample::vm_host(), &named);
        assert_eq!(roles(&assignment), [(VNET1, Role::Uplink), (VNET2, Role::VmPort), (IN0, Role::Routed)]);
        assert_eq!(assignment.ports[&IN0].mac, sample::mac(IN0));
    }

    #[test]
    fn hooks_are_asked_for_by_interface_and_vm_ports_are_always_tc() {
        let named = Interfaces {
            hook: Hook::XdpGeneric,
            hooks: BTreeMap::from([("eth0".to_owned(), Hook::Xdp)]),
            routed: vec!["in0".to_owned()],
            ..interfaces()
        };
        let ports = assign(&sample::vm_host(), &named).ports;
        assert_eq!(
            [ports[&ETH0].hook, ports[&IN0].hook, ports[&VNET1].hook],
            [Hook::Xdp, Hook::XdpGeneric, Hook::Tc]
        );
    }

    #[test]
    fn a_named_interface_that_is_missing_is_a_problem_with_its_field() {
        let named = Interfaces {
            uplinks: Some(vec!["eth9".to_owned()]),
            routed: vec!["in9".to_owned()],
            ..interfaces()
        };
        let texts: Vec<_> =
            assign(&sample::vm_host(), &named).problems.iter().map(ToString::to_string).collect();
        assert!(texts[0].starts_with("interfaces.uplinks: there is no interface \"eth9\""), "{texts:?}");
        assert!(texts[1].starts_with("interfaces.routed: there is no interface \"in9\""), "{texts:?}");
    }

    #[test]
    fn the_port_of_a_bond_is_a_problem_that_names_the_bond() {
        const BOND: u32 = 9;
        let mut topology = sample::vm_host();
        let eth0 = topology.links[&ETH0].clone();
        let bond = Link { ifindex: BOND, name: "bond0".to_owned(), kind: LinkKind::Bond, ..eth0 };
        topology.links.insert(BOND, bond);
        for port in [ETH0, IN0] {
            topology.links.get_mut(&port).unwrap().master = Some(BOND);
        }
        let assignment = assign(&topology, &interfaces());
        assert_eq!(roles(&assignment), [(VNET1, Role::VmPort), (VNET2, Role::VmPort), (BOND, Role::Uplink)]);
        let bond = &assignment.ports[&BOND];
        assert_eq!((bond.bridge, bond.is_virtual, bond.without_native_xdp), (BRIDGE, false, None));

        let named = Interfaces {
            uplinks: Some(vec!["eth0".to_owned()]),
            routed: vec!["in0".to_owned()],
            ..interfaces()
        };
        let problems: Vec<_> = assign(&topology, &named).problems.iter().map(ToString::to_string).collect();
        let text = |field, port| {
            format!(
                "{field}: {port:?} is a port of the bond \"bond0\", which takes its frames; name \"bond0\" instead"
            )
        };
        assert_eq!(problems, [text("interfaces.uplinks", "eth0"), text("interfaces.routed", "in0")]);
    }

    #[test]
    fn interfaces_made_of_others_frames_have_no_native_xdp_and_keep_their_own_mac() {
        for kind in [LinkKind::Vlan, LinkKind::Macvlan, LinkKind::Bridge] {
            let mut topology = sample::vm_host();
            topology.links.get_mut(&IN0).unwrap().kind = kind;
            let routed = Interfaces { routed: vec!["in0".to_owned()], ..interfaces() };
            let port = &assign(&topology, &routed).ports[&IN0];
            assert!(port.without_native_xdp.is_some() && port.is_virtual, "{kind:?}");
            assert_eq!((port.mac, port.bridge), (sample::mac(IN0), 0), "{kind:?}");
        }
    }

    #[test]
    fn no_default_route_and_an_empty_bridge_are_problems() {
        let mut topology = sample::vm_host();
        topology.links.remove(&ETH0);
        assert_eq!(
            assign(&topology, &interfaces()).problems,
            [InterfaceProblem::BridgeWithoutUplink { field: UPLINKS, name: "br0".to_owned() }]
        );
        topology.default_routes.clear();
        assert_eq!(assign(&topology, &interfaces()).problems, [InterfaceProblem::NoDefaultRoute]);
    }
}
