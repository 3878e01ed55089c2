//! A journal that tells when it grows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::journal::{Entry, Journal, NotKnown};

/// The latest changes of one kind of store.
#[derive(Debug)]
pub struct Changes {
    journal: Mutex<Journal>,
    revision: watch::Sender<u64>,
}

impl Changes {
    /// Knows of nothing before `revision`.
    pub fn new(revision: u64) -> Self {
        Self { journal: Mutex::new(Journal::new(revision)), revision: watch::Sender::new(revision) }
    }

    /// Adds what one transaction has changed.
    pub fn push(&self, revision: u64, entries: Vec<Entry>) {
        self.journal().push(revision, entries);
        self.revision.send_replace(revision);
    }

    /// All changes after a revision.
    ///
    /// # Errors
    /// When some of them are forgotten, or the revision has not been reached.
    pub fn since(&self, revision: u64) -> Result<Vec<Arc<Entry>>, NotKnown> {
        self.journal().since(revision)
    }

    /// Tells the newest revision as it changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        // A push that panics leaves a journal that ends early: its watchers are told to list again.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
