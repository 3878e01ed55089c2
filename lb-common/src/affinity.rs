//! Affinity: which backend a client keeps.

use crate::abi;
use crate::backend::BackendRef;
use crate::net::{Ipv4, Ipv6};

/// Key of AFFINITY_V4 and AFFINITY_V6.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AffinityKey<A> {
    /// The client's address.
    pub client: A,
    /// The listener's index.
    pub listener: u32,
}

/// Value of AFFINITY_V4 and AFFINITY_V6.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AffinityValue {
    /// Who served the client's last new flow.
    pub backend: BackendRef,
    /// When that was, in ticks.
    pub last_seen: u16,
    /// Zero.
    pub padding: u16,
}

abi!(AffinityKey<Ipv4>, 8);
abi!(AffinityKey<Ipv6>, 20);
abi!(AffinityValue, 8);
