//! A second instance of the packet programs, which tells what it does with packets.
//!
//! It is the same object, loaded with constants under which the verifier keeps what it removes from the programs
//! that balance normally. It shares maps with them by their pins.

mod capture;
mod instance;
mod listen;
mod trace;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::error::KernelError;
use super::flows::Ends;
use super::pins::Pins;
use crate::datapath::observe::event::Listening;
use crate::datapath::observe::{Capture, Filter, Observe, ObserveError, Question, Traced};
pub(super) use capture::sweep;

/// The door to packets of the programs that are pinned below a directory.
pub(super) struct Observation {
    pins: Pins,
    capturing: Arc<AtomicBool>,
    listened: Arc<AtomicBool>,
    ends: Arc<Ends>,
}

impl Observation {
    /// `ends` tells of flows that are over by their age.
    pub(super) fn new(pins: &Pins, ends: Arc<Ends>) -> Self {
        Self { pins: pins.clone(), capturing: Arc::default(), listened: Arc::default(), ends }
    }
}

impl Observe for Observation {
    fn trace(&self, question: &Question) -> Result<Traced, ObserveError> {
        trace::trace(&self.pins, question).map_err(refused)
    }

    fn capture(&self, filter: &Filter) -> Result<Box<dyn Capture>, ObserveError> {
        let turn = capture::Turn::take(&self.capturing).ok_or(ObserveError::Busy)?;
        Ok(Box::new(capture::Running::start(&self.pins, filter, turn).map_err(refused)?))
    }

    fn listen(&self) -> Result<Box<dyn Listening>, ObserveError> {
        let turn = capture::Turn::take(&self.listened).ok_or(ObserveError::Listened)?;
        let ends = Arc::clone(&self.ends);
        Ok(Box::new(listen::Listener::start(&self.pins, ends, turn).map_err(refused)?))
    }
}

fn refused(error: KernelError) -> ObserveError {
    ObserveError::Refused(Box::new(error))
}

/// Where a map of a capturing instance is pinned.
fn capture_pin(pins: &Pins, map: &str) -> PathBuf {
    pins.map(&format!("CAPTURE_{map}"))
}
