//! Ports: the interfaces that the programs work on.

use std::collections::BTreeMap;
use std::fmt;

use super::model::Mac;
use crate::config;

/// What an interface is to the load balancer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Faces the clients' network.
    Uplink,
    /// Its hosts use this node as their gateway.
    Routed,
    /// The port of a VM of this node.
    VmPort,
}

impl Role {
    /// The word that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Routed => "routed",
            Self::VmPort => "vm-port",
        }
    }
}

/// A kernel hook that is in use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hook {
    /// XDP in the driver.
    Xdp,
    /// XDP in the kernel's generic path.
    XdpGeneric,
    /// tcx, or clsact before Linux 6.6.
    Tc,
}

impl Hook {
    /// The word that people see, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => config::Hook::Xdp.name(),
            Self::XdpGeneric => config::Hook::XdpGeneric.name(),
            Self::Tc => config::Hook::Tc.name(),
        }
    }

    /// The hook of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Xdp, Self::XdpGeneric, Self::Tc].into_iter().find(|hook| hook.name() == name)
    }

    /// Whether packets meet XDP first.
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpGeneric)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An interface that the programs should work on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The hook that is asked for.
    pub hook: config::Hook,
    /// A device of software: native XDP there takes its peer's segmentation offload away.
    pub is_virtual: bool,
    /// Why native XDP is no choice for such a device; `None` where it is worth a try.
    pub without_native_xdp: Option<&'static str>,
    /// XDP may see checksums here that the sender left to its device.
    pub partial_checksums: bool,
    /// The bridge that it is a port of; 0 none.
    pub bridge: u32,
    /// The MAC with which VIPs are answered for: that of the bridge, if it is in one, else its own.
    pub mac: Mac,
    /// The longest IP packet that may leave through it; 0 while unknown.
    pub mtu: u16,
    /// The id of the XDP program that was seen on it, whoever attached it.
    pub xdp_program: Option<u32>,
}

/// An interface that the programs work on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachedPort {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The hook in use.
    pub hook: Hook,
    /// Why this hook.
    pub reason: String,
}

/// An interface that the programs can't work on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedPort {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// What it was to be.
    pub role: Role,
    /// Why not, and what to do.
    pub reason: String,
}

/// What became of the interfaces that should be served.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Served {
    /// By interface index.
    pub attached: BTreeMap<u32, AttachedPort>,
    /// The others.
    pub refused: Vec<RefusedPort>,
}
