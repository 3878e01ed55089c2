//! The labs' addresses of IPv6, beside those of IPv4.

use std::net::Ipv6Addr;

use anyhow::Result;

use super::namespace::Namespace;
use super::topology::{Topology, Wiring};

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The network of the VMs; as for IPv4, documentation addresses alone.
const INSIDE: [u16; 4] = [0x2001, 0xdb8, 1, 0];
/// The router's network to its clients.
const OUTSIDE: [u16; 4] = [0x2001, 0xdb8, 2, 0];
/// The router's network of VIPs.
const ROUTED: [u16; 4] = [0x2001, 0xdb8, 3, 0];

impl Topology {
    /// The client.
    pub fn client_v6(self) -> Ipv6Addr {
        match self {
            Self::Bridge | Self::Stick => host(INSIDE, 0x50),
            Self::Router => host(OUTSIDE, 0x50),
        }
    }

    /// The node, in the VMs' network.
    pub fn node_v6(self) -> Ipv6Addr {
        host(INSIDE, 1)
    }

    /// The VM with this number, from 1.
    pub fn vm_v6(self, number: u8) -> Ipv6Addr {
        host(INSIDE, 0x10 + u16::from(number))
    }

    /// The network of the VIPs, and the first and the last that may be given out.
    pub fn vips_v6(self) -> (String, Ipv6Addr, Ipv6Addr) {
        let network = match self {
            Self::Bridge | Self::Stick => INSIDE,
            Self::Router => ROUTED,
        };
        (prefix(network), host(network, 0x200), host(network, 0x220))
    }
}

/// Gives node and client their addresses.
pub(super) fn address(wiring: &Wiring, topology: Topology, vm_side: &str) -> Result<()> {
    add(&wiring.node, topology.node_v6(), vm_side)?;
    add(&wiring.client, topology.client_v6(), "eth0")?;
    if topology == Topology::Router {
        let gateway = host(OUTSIDE, 1);
        add(&wiring.node, gateway, "up0")?;
        for network in [INSIDE, ROUTED] {
            wiring.client.ip(&["route", "add", &prefix(network), "via", &gateway.to_string()])?;
        }
        wiring.node.sysctl("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Gives a VM its address.
pub(super) fn address_vm(vm: &Namespace, topology: Topology, number: u8) -> Result<()> {
    add(vm, topology.vm_v6(number), "eth0")?;
    if topology == Topology::Router {
        vm.ip(&["route", "add", "default", "via", &topology.node_v6().to_string()])?;
    }
    Ok(())
}

/// Usable at once: a lab has no second host that might have it.
fn add(namespace: &Namespace, address: Ipv6Addr, interface: &str) -> Result<()> {
    namespace.ip(&["address", "add", &format!("{address}/64"), "dev", interface, "nodad"])
}

const fn host([a, b, c, d]: [u16; 4], number: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, number)
}

fn prefix(network: [u16; 4]) -> String {
    format!("{}/64", host(network, 0))
}
