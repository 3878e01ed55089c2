//! What becomes of a packet: what `/lb/v1/trace` and `/lb/v1/capture` answer.
//!
//! Input: questions as they are asked, the names of who serves, and the door to the packet programs. Output:
//! decisions in words, and captured packets.

mod capture;
mod frame;
mod trace;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use capture::{CaptureSummary, CapturedPacket, Captures, RawCapture};
pub use trace::{RawTrace, Step, TraceReport};

use crate::datapath::observe::{Observe, ObserveError};

/// Looks at packets.
#[derive(Clone)]
pub struct Observer {
    door: Arc<dyn Observe>,
    stopped: Arc<AtomicBool>,
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

fn wrong(field: &'static str, message: impl Into<String>) -> ObservePackets {
    ObservePackets::Wrong { field, message: message.into() }
}

impl Observer {
    /// Through a door.
    pub fn new(door: Arc<dyn Observe>) -> Self {
        Self { door, stopped: Arc::new(AtomicBool::new(false)) }
    }

    /// Ends captures: the agent stops.
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
