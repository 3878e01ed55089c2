//! What outlives an agent that is killed: a store and a datapath, both in memory, both failing when they are told to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::datapath::Datapath;
use crate::datapath::counters::Counters;
use crate::datapath::flows::FlowTable;
use crate::datapath::memory::Memory;
use crate::datapath::model::{Command, Observed};
use crate::datapath::port::{Port, Served};
use crate::store::{MemoryStore, Record, Store, StoreError, Write};

/// What becomes of the next transaction.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Fate {
    /// It is stored.
    #[default]
    Stored,
    /// The disk refuses it.
    Refused,
    /// It is stored, and the agent is killed before it hears of that.
    StoredUnheard,
}

#[derive(Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<(MemoryStore, Fate)>>);

impl Shelf {
    pub(super) fn decide(&self, fate: Fate) {
        self.0.lock().unwrap().1 = fate;
    }
}

impl Store for Shelf {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        self.0.lock().unwrap().0.load()
    }

    fn revision(&self) -> Result<u64, StoreError> {
        self.0.lock().unwrap().0.revision()
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        let (store, fate) = &mut *self.0.lock().unwrap();
        let fate = std::mem::take(fate);
        let refused = StoreError::Write { path: PathBuf::new(), message: "no room".to_owned() };
        match fate {
            Fate::Stored => store.commit(writes),
            Fate::Refused => Err(refused),
            Fate::StoredUnheard => store.commit(writes).and(Err(refused)),
        }
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

/// The agent is gone before the command is executed.
#[derive(Debug, thiserror::Error)]
#[error("killed")]
pub(super) struct Killed;

/// A datapath that executes so many commands more, if there is a bound.
#[derive(Clone, Default)]
pub(super) struct Maps(Arc<Mutex<(Memory, Option<u8>)>>);

impl Maps {
    /// So many, and no more.
    pub(super) fn limit(&self, commands: Option<u8>) {
        self.0.lock().unwrap().1 = commands;
    }

    fn with<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.0.lock().unwrap().0)
    }

    pub(super) fn observed(&self) -> Observed {
        self.with(|memory| memory.observe().unwrap())
    }
}

impl Datapath for Maps {
    type Error = Killed;

    fn observe(&self) -> Result<Observed, Killed> {
        Ok(self.observed())
    }

    fn execute(&mut self, command: &Command) -> Result<(), Killed> {
        let (memory, left) = &mut *self.0.lock().unwrap();
        if let Some(left) = left {
            *left = left.checked_sub(1).ok_or(Killed)?;
        }
        memory.execute(command).unwrap();
        Ok(())
    }

    fn serve(&mut self, ports: &BTreeMap<u32, Port>) -> Result<Served, Killed> {
        Ok(self.with(|memory| memory.serve(ports).unwrap()))
    }

    fn counters(&self, observed: &Observed) -> Result<Counters, Killed> {
        Ok(self.with(|memory| memory.counters(observed).unwrap()))
    }

    fn flow_table(&self) -> Arc<dyn FlowTable> {
        self.with(|memory| memory.flow_table())
    }
}
