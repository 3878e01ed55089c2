//! A second instance of the packet programs, which tells what it does with packets.
//!
//! It is the same object, loaded with constants under which the verifier keeps what it removes from the programs
//! that balance normally. It shares maps with them by their pins.

mod capture;
mod instance;
mod trace;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::error::KernelError;
use super::pins::Pins;
use crate::datapath::observe::{Capture, Filter, Observe, ObserveError, Question, Traced};
pub(super) use capture::sweep;

/// The door to packets of the programs that are pinned below a directory.
#[derive(Debug)]
pub(super) struct Observation {
    pins: Pins,
    busy: Arc<AtomicBool>,
}

impl Observation {
    pub(super) fn new(pins: &Pins) -> Self {
        Self { pins: pins.clone(), busy: Arc::new(AtomicBool::new(false)) }
    }
}

impl Observe for Observation {
    fn trace(&self, question: &Question) -> Result<Traced, ObserveError> {
        trace::trace(&self.pins, question).map_err(refused)
    }

    fn capture(&self, filter: &Filter) -> Result<Box<dyn Capture>, ObserveError> {
        let turn = capture::Turn::take(&self.busy).ok_or(ObserveError::Busy)?;
        Ok(Box::new(capture::Running::start(&self.pins, filter, turn).map_err(refused)?))
    }
}

fn refused(error: KernelError) -> ObserveError {
    ObserveError::Refused(Box::new(error))
}

/// Where a map of a capturing instance is pinned.
fn capture_pin(pins: &Pins, map: &str) -> PathBuf {
    pins.map(&format!("CAPTURE_{map}"))
}
