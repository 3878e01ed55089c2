//! What the node's network looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::net::Mac;
use litemap::LiteMap;

use super::moved::Step;

/// A set of addresses, in one piece of memory: ten thousand of them are copied and compared in no time.
pub type Addresses = LiteMap<IpAddr, ()>;

/// A snapshot: links, who is behind which port, and how addresses are reached.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Topology {
    /// By interface index.
    pub links: BTreeMap<u32, Link>,
    /// Bridges' forwarding databases: by MAC, then by bridge, the port behind which it is.
    pub stations: BTreeMap<Mac, BTreeMap<u32, u32>>,
    /// Resolved neighbours, by interface index and address.
    pub neighbours: BTreeMap<(u32, IpAddr), Mac>,
    /// Interface indices of the default routes.
    pub default_routes: BTreeSet<u32>,
    /// The way to each address that was asked for; those without a way are missing.
    pub paths: LiteMap<IpAddr, Path>,
    /// Addresses that were asked for and about which all is known that the kernel could find out soon.
    pub settled: Addresses,
    /// How it came about.
    pub step: Step,
}

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Interface index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// The interface that it is enslaved to: a bridge, a bond.
    pub master: Option<u32>,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Bytes, without the Ethernet header.
    pub mtu: u32,
    /// Switched on.
    pub up: bool,
    /// The id of the XDP program on it.
    pub xdp_program: Option<u32>,
}

/// What a link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// A device on a bus.
    Physical,
    /// A device on the virtio bus: this node is a VM itself.
    VirtioNet,
    /// One end of a virtual cable.
    Veth,
    /// tun or tap.
    Tun,
    /// A bridge.
    Bridge,
    /// Several physical devices as one.
    Bond,
    /// The frames of one VLAN of another interface.
    Vlan,
    /// macvlan, macvtap, and their kin that share a MAC: the frames of another interface for one address.
    Macvlan,
    /// Any other device of software.
    OtherVirtual,
}

impl LinkKind {
    /// Why native XDP is no choice for it; `None` where the driver decides. A bond hands the program to its ports.
    pub const fn without_native_xdp(self) -> Option<&'static str> {
        match self {
            Self::Bridge => Some("a bridge, which has no native XDP; its ports may have it"),
            Self::Vlan => Some("a VLAN interface, whose frames have passed its parent's XDP already"),
            Self::Macvlan => Some("a macvlan or macvtap interface, which has no native XDP"),
            Self::Physical | Self::VirtioNet | Self::Bond | Self::Veth | Self::Tun | Self::OtherVirtual => {
                None
            }
        }
    }

    /// Whether it is made of software alone.
    pub const fn is_virtual(self) -> bool {
        !matches!(self, Self::Physical | Self::VirtioNet | Self::Bond)
    }

    /// Whether a sender behind it may have left checksums to it.
    pub const fn has_partial_checksums(self) -> bool {
        matches!(self, Self::Veth | Self::Tun | Self::VirtioNet)
    }
}

impl Link {
    /// The longest IP packet that it carries; 0 while unknown. No IP packet is longer than what fits here.
    pub fn longest_packet(&self) -> u16 {
        u16::try_from(self.mtu).unwrap_or(u16::MAX)
    }
}

/// The way to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The interface to send from.
    pub ifindex: u32,
    /// The router to send to; `None` where the address is on the link.
    pub gateway: Option<IpAddr>,
}

impl Path {
    /// Whom the kernel asks for a MAC on the way to `address`: at which interface, and who.
    pub fn next_hop(&self, address: IpAddr) -> (u32, IpAddr) {
        (self.ifindex, self.gateway.unwrap_or(address))
    }
}

impl Topology {
    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// The bridge that a link is a port of.
    pub fn bridge_of(&self, link: &Link) -> Option<&Link> {
        self.links.get(&link.master?).filter(|master| master.kind == LinkKind::Bridge)
    }

    /// The bond that a link is a port of.
    pub fn bond_of(&self, link: &Link) -> Option<&Link> {
        self.links.get(&link.master?).filter(|master| master.kind == LinkKind::Bond)
    }

    /// The ports of a bridge.
    pub fn ports_of(&self, bridge: u32) -> impl Iterator<Item = &Link> {
        self.links.values().filter(move |link| link.master == Some(bridge))
    }

    /// The bridge and port behind which a station is: in `preferred` if it is known there.
    pub fn station(&self, mac: Mac, preferred: Option<u32>) -> Option<(u32, u32)> {
        let bridges = self.stations.get(&mac)?;
        let at = preferred.and_then(|bridge| bridges.get_key_value(&bridge));
        at.or_else(|| bridges.first_key_value()).map(|(bridge, port)| (*bridge, *port))
    }

    /// The MAC of the next hop on the way to an address.
    pub fn next_hop(&self, address: IpAddr) -> Option<Mac> {
        let path = self.paths.get(&address)?;
        self.neighbours.get(&path.next_hop(address)).copied()
    }
}
