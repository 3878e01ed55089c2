//! Events: what the datapath tells of flows and drops while somebody listens.

use crate::abi;
use crate::stats::Traffic;

/// Bytes that come with an event.
pub const BODY: usize = 128;

/// A flow was entered. The body is its forward half.
pub const OPENED: u32 = 1;
/// A flow is over. The body is its forward half.
pub const CLOSED: u32 = 2;
/// A packet was dropped. The body is its beginning.
pub const DROPPED: u32 = 3;

/// Bytes of the ring buffer EVENTS, a power of two: some five thousand events.
pub const RING: u32 = 1 << 20;

/// An entry of EVENTS.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Nanoseconds since boot.
    pub time: u64,
    /// [`OPENED`], [`CLOSED`] or [`DROPPED`].
    pub kind: u32,
    /// Of a flow: 4 or 6, the family of its addresses.
    pub family: u32,
    /// Of a drop: the [`Reason`](crate::reason::Reason).
    pub reason: u32,
    /// Of a drop: the index of the interface.
    pub interface: u32,
    /// Of a drop: [`XDP`](crate::observe::XDP) and its like.
    pub hook: u32,
    /// Of a drop: bytes of the frame.
    pub length: u32,
    /// Of a closed flow: what it carried. All zero where that was not counted.
    pub carried: FlowStats,
    /// A [`FlowEntry`](crate::flow::FlowEntry), or the frame.
    pub body: [u8; BODY],
}

/// Value of FLOW_STATS; the key is the [`OverflowKey`](crate::flow::OverflowKey) of the forward half.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FlowStats {
    /// Nanoseconds since boot when it was entered; 0 where nothing was counted.
    pub opened: u64,
    /// Towards the backend.
    pub forward: Traffic,
    /// Towards the client.
    pub reply: Traffic,
}

/// Index into EVENTS_LOST: events of flows that were too many in too short a time, or met a full ring buffer.
pub const LOST_FLOWS: u32 = 0;
/// Index into EVENTS_LOST: drops that were not sampled.
pub const LOST_DROPS: u32 = 1;

abi!(FlowStats, 40);
abi!(Event, 200);
