//! What a machine is told, and what it tells.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use lb_common::net::Mac;

use super::super::message::Request;
use super::lease::Server;

/// How patient a client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// How long is listened for somebody who has the address already; zero is not at all.
    pub probe: Duration,
    /// The longest pause between questions that stay unanswered.
    pub longest_pause: Duration,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Send a message; to everybody, where no server is named.
    Send(Request, Option<Server>),
    /// Ask by ARP whether anybody has the address.
    Probe(Ipv4Addr),
    /// Tell by ARP who has the address.
    Announce(Ipv4Addr),
}

/// Where a client is. The names are RFC 2131's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Waits before it asks.
    Init,
    /// Looks for a server.
    Selecting,
    /// Asks a server for what it offered.
    Requesting,
    /// Looks whether anybody uses the address that was granted.
    Probing,
    /// Asks whether an address is still its own.
    Rebooting,
    /// Has an address.
    Bound,
    /// Asks its server for more time.
    Renewing,
    /// Asks any server for more time.
    Rebinding,
    /// Has given its address back.
    Released,
}

/// Why there is no address, or may soon be none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// Nobody answers.
    NoAnswer,
    /// A server said no.
    Refused,
    /// The lease ended before it was extended.
    Expired(Ipv4Addr),
    /// Somebody else uses the address.
    Conflict(Ipv4Addr, Mac),
    /// The address is another load balancer's.
    Taken(Ipv4Addr),
    /// The address is one that a pool gave.
    Pooled(Ipv4Addr),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("no DHCP server answers"),
            Self::Refused => f.write_str("the DHCP server refused the address"),
            Self::Expired(address) => write!(f, "the lease of {address} has expired"),
            Self::Conflict(address, Mac([a, b, c, d, e, g])) => {
                write!(f, "{address} was lent, but {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x} uses it")
            }
            Self::Taken(address) => write!(
                f,
                "the DHCP server offers {address}, which another load balancer has: if it tells clients apart by \
                 their MAC, set dhcp.hardwareAddress to derived"
            ),
            Self::Pooled(address) => write!(
                f,
                "the DHCP server lent {address}, which a pool gave to another load balancer: keep the addresses of \
                 pools out of the server's range"
            ),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
