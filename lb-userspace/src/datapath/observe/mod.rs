//! Looking at packets: a test packet's decisions, copies of real packets, and what happens to flows.
//!
//! Input: questions and filters. Output: what the packet programs themselves tell. Nothing of traces
//! and captures is in the programs that balance normally: a second instance of them is loaded for it.

pub mod event;
pub mod memory;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_common::observe::Note;

use crate::datapath::model::BackendEntry;

/// Where a packet met the programs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// XDP.
    Xdp,
    /// tc, incoming.
    Ingress,
    /// tc, outgoing.
    Egress,
}

impl Side {
    /// The word that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Ingress => "tc-ingress",
            Self::Egress => "tc-egress",
        }
    }

    /// What a program's return value means here.
    pub const fn verdict(self, code: i32) -> &'static str {
        match (self, code) {
            (Self::Xdp, 1) | (Self::Ingress | Self::Egress, 2) => "drop",
            (Self::Xdp, 2) | (Self::Ingress | Self::Egress, -1 | 0) => "pass",
            (Self::Xdp, 3) => "transmit back",
            (Self::Xdp, 4) | (Self::Ingress | Self::Egress, 7) => "redirect",
            _ => "unknown",
        }
    }
}

/// A packet that is to be traced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Which program it meets.
    pub side: Side,
    /// The interface that it comes in or goes out by.
    pub interface: u32,
    /// The frame; whom it is addressed to is left to the datapath.
    pub frame: Vec<u8>,
}

/// What the programs made of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced {
    /// Decisions in their order.
    pub notes: Vec<Note>,
    /// The return value.
    pub code: i32,
    /// The frame as it came, addressed to the interface.
    pub sent: Vec<u8>,
    /// The frame as it was left.
    pub frame: Vec<u8>,
    /// The backends that the notes name, by id.
    pub backends: BTreeMap<u32, BackendEntry>,
}

/// Which packets are captured: those that have all that is given.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Filter {
    /// Source or destination, before or after.
    pub vip: Option<IpAddr>,
    /// Source or destination, before or after.
    pub client: Option<IpAddr>,
    /// Of the source or the destination, before or after.
    pub port: Option<u16>,
}

/// A captured packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Since boot.
    pub time: Duration,
    /// The interface that it came in or went out by.
    pub interface: u32,
    /// Where it met the programs.
    pub side: Side,
    /// The program's return value.
    pub code: i32,
    /// The last reason that was counted for it.
    pub reason: Option<lb_common::reason::Reason>,
    /// As it came.
    pub before: Frame,
    /// As it was left.
    pub after: Frame,
}

/// The beginning of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Bytes of the whole.
    pub length: u32,
    /// As many of them as are captured.
    pub bytes: Vec<u8>,
}

/// Why packets can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A capture is under way.
    #[error("another capture runs; only one can at a time")]
    Busy,
    /// Somebody listens to events.
    #[error("somebody else listens to events; only one can at a time")]
    Listened,
    /// The kernel refuses.
    #[error("{0}")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The door to packets.
pub trait Observe: Send + Sync {
    /// Asks the programs what they would do with a packet. Nothing changes by that.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn trace(&self, question: &Question) -> Result<Traced, ObserveError>;

    /// Starts to capture; ends when what is returned is dropped.
    ///
    /// # Errors
    /// When another capture runs, or the kernel refuses.
    fn capture(&self, filter: &Filter) -> Result<Box<dyn Capture>, ObserveError>;

    /// Starts to listen to events; ends when what is returned is dropped.
    ///
    /// # Errors
    /// When somebody else listens, or the kernel refuses.
    fn listen(&self) -> Result<Box<dyn event::Listening>, ObserveError>;
}

/// A capture that is under way.
pub trait Capture: Send {
    /// The packets since the last call; waits for the first of them, but not longer than `patience`.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    fn packets(&mut self, patience: Duration) -> Result<Vec<Packet>, ObserveError>;

    /// Packets that were wanted and not captured: too many in too short a time.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    fn lost(&self) -> Result<u64, ObserveError>;
}
