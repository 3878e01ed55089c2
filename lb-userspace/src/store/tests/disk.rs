//! A disk in memory, which remembers what was done to it and fails when it is told to.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What was done to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Bytes were written.
    Write(usize, Vec<u8>),
    /// It got longer or shorter.
    Resize(usize),
    /// Everything before it is there even if the power fails.
    Sync,
}

/// Its bytes.
#[derive(Clone, Default, Debug)]
pub(crate) struct Image(Vec<u8>);

impl Image {
    /// After one more step.
    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Write(offset, data) => self.0[*offset..offset + data.len()].copy_from_slice(data),
            Step::Resize(length) => self.0.resize(*length, 0),
            Step::Sync => {}
        }
    }
}

/// When it fails.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Failing {
    /// After so many steps and reads,
    pub(crate) after: usize,
    /// for so many of them.
    pub(crate) steps: usize,
}

impl Failing {
    /// One step or read more: it fails, or comes nearer to failing.
    fn come_to(&mut self, error: io::ErrorKind) -> io::Result<()> {
        match (self.steps, self.after) {
            (0, _) => Ok(()),
            (_, 0) => {
                self.steps -= 1;
                Err(error.into())
            }
            _ => {
                self.after -= 1;
                Ok(())
            }
        }
    }
}

#[derive(Default, Debug)]
struct State {
    image: Image,
    steps: Vec<Step>,
    failing: Failing,
}

/// The disk. Whoever clones it has the same.
#[derive(Clone, Default, Debug)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// With these bytes.
    pub(crate) fn of(image: Image) -> Self {
        Self(Arc::new(Mutex::new(State { image, ..State::default() })))
    }

    /// Nothing was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().image.0.is_empty()
    }

    /// What was done to it so far.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.state().steps.clone()
    }

    /// Fails from now on as it is told.
    pub(crate) fn fail(&self, failing: Failing) {
        self.state().failing = failing;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let mut state = self.state();
        state.failing.come_to(io::ErrorKind::StorageFull)?;
        state.image.apply(&step);
        state.steps.push(step);
        Ok(())
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().image.0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        state.failing.come_to(io::ErrorKind::Other)?;
        out.copy_from_slice(&state.image.0[at(offset)..at(offset) + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.step(Step::Resize(at(length)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write(at(offset), data.to_vec()))
    }
}
