//! What becomes of packets and flows: what `/lb/v1/trace`, `/lb/v1/capture` and `/lb/v1/events` answer.
//!
//! Input: questions as they are asked, the names of who serves, and the door to the packet programs. Output:
//! decisions in words, captured packets, and events.

mod capture;
mod events;
mod frame;
mod interfaces;
mod trace;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use capture::{CaptureSummary, CapturedPacket, Captures, RawCapture};
pub use events::{CarriedTold, DropTold, EventRow, Events, EventsSummary, FlowTold, RawEvents};
pub use trace::{RawTrace, Step, TraceReport};

use serde::Serialize;

use crate::datapath::observe::{Observe, ObserveError};

/// Looks at packets.
#[derive(Clone)]
pub struct Observer {
    door: Arc<dyn Observe>,
    stopped: Arc<AtomicBool>,
}

/// What comes one after the other, until somebody has enough of it.
pub trait Stream {
    /// One of them.
    type Item: Serialize;
    /// What is to be said at the end.
    type Summary: Serialize;

    /// The next ones, none if there were none for a while; `None` at the end.
    ///
    /// # Errors
    /// When the datapath can't tell.
    fn more(&mut self) -> Result<Option<Vec<Self::Item>>, ObservePackets>;

    /// What is to be said at the end.
    ///
    /// # Errors
    /// When the datapath can't tell.
    fn summary(&self) -> Result<Self::Summary, ObservePackets>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ObservePackets {
    /// The question makes no sense.
    #[error("{field}: {message}")]
    Wrong {
        /// The field of the question.
        field: &'static str,
        /// What to write instead.
        message: String,
    },
    /// The datapath can't tell.
    #[error(transparent)]
    Datapath(#[from] ObserveError),
}

/// When so many seconds are over; `None` if that is beyond what clocks tell.
fn ends_after(seconds: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(seconds))
}

fn wrong(field: &'static str, message: impl Into<String>) -> ObservePackets {
    ObservePackets::Wrong { field, message: message.into() }
}

impl Observer {
    /// Through a door.
    pub fn new(door: Arc<dyn Observe>) -> Self {
        Self { door, stopped: Arc::new(AtomicBool::new(false)) }
    }

    /// Ends captures and listening: the agent stops.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Over no packets at all.
#[cfg(test)]
pub(crate) fn in_memory() -> Observer {
    Observer::new(Arc::new(crate::datapath::observe::memory::MemoryPackets::default()))
}

#[cfg(test)]
mod tests;
