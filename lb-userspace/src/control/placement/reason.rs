//! Where a backend is, for people.

use std::fmt;
use std::net::IpAddr;

/// Where a backend is, by the names of interfaces. In words: `local behind vnet3`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason<'a> {
    /// Behind a VM port.
    Behind(&'a str),
    /// Behind a VM port outside any bridge.
    RoutedBehind(&'a str),
    /// Beyond an uplink.
    Across {
        /// The uplink.
        name: &'a str,
        /// Behind a router there.
        has_gateway: bool,
        /// It sees this node as the client.
        masquerade: bool,
    },
    /// Routed to.
    Routed(&'a str),
    /// In a bridge that does not know its port.
    Somewhere(&'a str),
    /// No neighbour answers there.
    Unanswered(&'a str),
    /// No neighbour answers there, or the programs don't work there.
    Unreached(&'a str),
    /// There is no route to it.
    NoRoute(IpAddr),
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind(name) => write!(f, "local behind {name}"),
            Self::RoutedBehind(name) => write!(f, "local behind {name}, routed by the node"),
            Self::Across { name, has_gateway, masquerade } => {
                let place = if *has_gateway { "behind a router" } else { "on the same network" };
                let condition =
                    if *masquerade { "" } else { "; its answers must come back through this node" };
                write!(f, "{place} through {name}{condition}")
            }
            Self::Routed(name) => write!(f, "routed through {name}"),
            Self::Somewhere(name) => write!(f, "in {name}, which does not know its port yet"),
            Self::Unanswered(name) => write!(f, "unresolved: no answer through {name}"),
            Self::Unreached(name) => {
                write!(f, "unresolved: no answer through {name}, or the programs don't work there")
            }
            Self::NoRoute(address) => write!(f, "unresolved: no route to {address}"),
        }
    }
}
