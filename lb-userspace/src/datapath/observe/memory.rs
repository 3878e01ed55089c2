//! Packets in memory: what was recorded is told.

use std::time::Duration;

use super::event::{Event, Listening, LostEvents};
use super::{Capture, Filter, Observe, ObserveError, Packet, Question, Traced};

/// A door behind which nothing is loaded.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MemoryPackets {
    /// The answer to every trace; `None` refuses.
    pub traced: Option<Traced>,
    /// What every capture gives.
    pub packets: Vec<Packet>,
    /// What whoever listens is told.
    pub events: Vec<Event>,
}

impl Observe for MemoryPackets {
    fn trace(&self, _question: &Question) -> Result<Traced, ObserveError> {
        self.traced.clone().ok_or_else(|| ObserveError::Refused("nothing is loaded in memory".into()))
    }

    fn capture(&self, _filter: &Filter) -> Result<Box<dyn Capture>, ObserveError> {
        Ok(Box::new(MemoryCapture { packets: self.packets.clone() }))
    }

    fn listen(&self) -> Result<Box<dyn Listening>, ObserveError> {
        Ok(Box::new(MemoryListener { events: self.events.clone() }))
    }
}

struct MemoryCapture {
    packets: Vec<Packet>,
}

impl Capture for MemoryCapture {
    fn packets(&mut self, _patience: Duration) -> Result<Vec<Packet>, ObserveError> {
        Ok(std::mem::take(&mut self.packets))
    }

    fn lost(&self) -> Result<u64, ObserveError> {
        Ok(0)
    }
}

struct MemoryListener {
    events: Vec<Event>,
}

impl Listening for MemoryListener {
    fn events(&mut self, _patience: Duration) -> Result<Vec<Event>, ObserveError> {
        Ok(std::mem::take(&mut self.events))
    }

    fn lost(&self) -> Result<LostEvents, ObserveError> {
        Ok(LostEvents::default())
    }
}
