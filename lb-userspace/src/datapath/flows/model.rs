//! A flow, and the sums over all of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub use lb_common::backend::BackendRef;
pub use lb_common::head::State;

use crate::datapath::model::Protocol;

/// A flow, seen from the client's side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who dialled.
    pub client: SocketAddr,
    /// What was dialled.
    pub vip: SocketAddr,
    /// Who answers.
    pub server: SocketAddr,
    /// The client as the server sees it: another address than the client's where the source is rewritten.
    pub source: SocketAddr,
    /// The backend, and the generation in which the flow chose it.
    pub backend: BackendRef,
    /// Life of the client's half: never empty or busy.
    pub state: State,
    /// Since its last packet, in steps of two seconds.
    pub idle: Duration,
    /// It found no room in its bucket and stands in the overflow map.
    pub overflowed: bool,
}

#[cfg(test)]
impl Flow {
    /// An established TCP flow whose source stays, of backend 1.
    pub fn sample(client: SocketAddr, vip: SocketAddr, server: SocketAddr) -> Self {
        Self {
            protocol: Protocol::Tcp,
            client,
            vip,
            server,
            source: client,
            backend: BackendRef::new(1, 0),
            state: State::Established,
            idle: Duration::from_secs(4),
            overflowed: false,
        }
    }
}

/// Flows of one backend, by state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FlowCounts {
    /// Not answered yet.
    pub opening: u32,
    /// Both directions seen, or one has ended.
    pub established: u32,
    /// Over, and remembered for a moment.
    pub closing: u32,
}

impl FlowCounts {
    /// Flows that are not over.
    pub const fn live(self) -> u32 {
        self.opening + self.established
    }

    /// Counts one more.
    pub const fn add(&mut self, state: State) {
        match state {
            State::Empty | State::Busy => {}
            State::Opening | State::Replied => self.opening += 1,
            State::Established | State::Finished => self.established += 1,
            State::Closing => self.closing += 1,
        }
    }
}

/// All flows at about one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Survey {
    /// Flows that have not expired, by backend and generation. Backends without flows are left out.
    pub by_backend: BTreeMap<BackendRef, FlowCounts>,
    /// The table of IPv4.
    pub v4: Occupancy,
    /// The table of IPv6.
    pub v6: Occupancy,
    /// Entries that were emptied.
    pub emptied: u32,
}

/// How full a flow table is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Occupancy {
    /// Flows that have not expired.
    pub live: u32,
    /// Entries in use, expired ones included; each flow takes two.
    pub entries: u32,
    /// Entries that there are.
    pub capacity: u32,
    /// Halves of flows in the overflow map.
    pub overflowed: u32,
    /// Halves of flows that the overflow map can hold.
    pub overflow_capacity: u32,
}

impl Survey {
    /// The flows of one backend in one generation.
    pub fn of(&self, backend: BackendRef) -> FlowCounts {
        self.by_backend.get(&backend).copied().unwrap_or_default()
    }
}
