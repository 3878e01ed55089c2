//! Fragments: which ports the first fragment of a packet told, for those that follow.

use crate::abi;
use crate::net::{Be16, Ipv4, Ipv6};

/// Key of FRAGMENTS_V4 and FRAGMENTS_V6: what the fragments of one packet have in common (RFC 791, RFC 8200).
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FragmentKey<A> {
    /// From.
    pub source: A,
    /// To.
    pub destination: A,
    /// As it stands in the header; for IPv4 the last two bytes.
    pub identification: [u8; 4],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub padding: [u8; 3],
}

/// Value of FRAGMENTS_V4 and FRAGMENTS_V6.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FragmentPorts {
    /// From.
    pub source: Be16,
    /// To.
    pub destination: Be16,
    /// When the first fragment was seen, in ticks ([`TICK_SHIFT`](crate::config::TICK_SHIFT)).
    pub seen: u16,
    /// Zero.
    pub padding: u16,
}

/// Ticks for which the fragments of a packet may follow its first: 30 seconds, as Linux waits for them.
pub const FRAGMENT_TIMEOUT: u16 = 14;

abi!(FragmentKey<Ipv4>, 16);
abi!(FragmentKey<Ipv6>, 40);
abi!(FragmentPorts, 8);
