//! Counters: values of LISTENER_STATS, LISTENER_PASTS and BACKEND_STATS.

use crate::abi;

/// Packets and their bytes, from the Ethernet header on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Value of LISTENER_STATS and LISTENER_PASTS (by listener index) and BACKEND_STATS (by backend id).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Client to backend.
    pub forward: Traffic,
    /// Backend to client.
    pub reply: Traffic,
    /// Flows opened.
    pub flows: u64,
    /// Packets that no flow took: refused or dropped. Listeners only.
    pub refused: u64,
}

abi!(Traffic, 16);
abi!(Stats, 48);
