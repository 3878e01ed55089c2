//! Sockets of the node's own processes that dialled a VIP.

use crate::abi;
use crate::net::{Be16, Ipv6};

/// Key of SOCKETS: a socket and whom it really talks to. IPv4 addresses stand as IPv4-mapped ones
/// ([`Ipv6::mapped`](crate::net::Ipv6::mapped)): an IPv6 socket may dial them, too.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketKey {
    /// The kernel's number of the socket, never given away again.
    pub cookie: u64,
    /// The backend's address.
    pub address: Ipv6,
    /// The backend's port.
    pub port: Be16,
    /// Zero.
    pub padding: [u8; 6],
}

impl SocketKey {
    /// Of a socket and its peer.
    #[inline(always)]
    pub const fn new(cookie: u64, address: Ipv6, port: Be16) -> Self {
        Self { cookie, address, port, padding: [0; 6] }
    }
}

/// Value of SOCKETS: whom the process dialled.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketValue {
    /// The VIP.
    pub vip: Ipv6,
    /// The listener's port.
    pub port: Be16,
    /// Zero.
    pub padding: [u8; 6],
}

impl SocketValue {
    /// Of a listener.
    #[inline(always)]
    pub const fn new(vip: Ipv6, port: Be16) -> Self {
        Self { vip, port, padding: [0; 6] }
    }
}

abi!(SocketKey, 32);
abi!(SocketValue, 24);
