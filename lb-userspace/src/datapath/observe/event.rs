//! What happens to flows and packets, told while somebody listens.

use std::time::Duration;

use lb_common::reason::Reason;

use super::{Frame, ObserveError, Side};
use crate::datapath::flows::model::Flow;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Since boot.
    pub time: Duration,
    /// What.
    pub happening: Happening,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// A flow was entered.
    Opened(Flow),
    /// A flow is over, by a packet or by its age.
    Closed {
        /// Which.
        flow: Flow,
        /// What it carried, if that was counted.
        carried: Option<Carried>,
    },
    /// A packet was dropped.
    Dropped {
        /// Why; `None` for a reason that this agent does not know.
        reason: Option<Reason>,
        /// The interface that it came in or went out by.
        interface: u32,
        /// Where it met the programs.
        side: Side,
        /// Its beginning.
        frame: Frame,
    },
}

/// What a flow carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// From its first packet to its end.
    pub duration: Duration,
    /// Packets towards the backend.
    pub forward_packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub forward_bytes: u64,
    /// Packets towards the client.
    pub reply_packets: u64,
    /// Their bytes.
    pub reply_bytes: u64,
}

/// Events that were not told.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LostEvents {
    /// Of flows: too many in too short a time, or a reader that is too slow.
    pub flows: u64,
    /// Drops, of which only some are told.
    pub drops: u64,
}

/// Somebody listens, until this is dropped.
pub trait Listening: Send {
    /// The events since the last call; waits for the first of them, but not longer than `patience`.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    fn events(&mut self, patience: Duration) -> Result<Vec<Event>, ObserveError>;

    /// Events that were not told since the listening began.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    fn lost(&self) -> Result<LostEvents, ObserveError>;
}
