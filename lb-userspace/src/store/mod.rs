//! Where resources live between runs of the agent.
//!
//! Input: [`Write`]s, whole or not at all. Output: [`Record`]s. The content of an object is bytes to the
//! store; `control` knows what they mean. Two implementations of [`Store`]: a redb file and memory.

mod memory;
mod redb;

use std::path::PathBuf;

pub use self::memory::MemoryStore;
pub use self::redb::RedbStore;

/// What names an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Its resource, as in API paths: `loadbalancers`.
    pub resource: String,
    /// Its namespace; empty for what has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One stored object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What names it.
    pub key: Key,
    /// The revision that wrote it.
    pub revision: u64,
    /// Its content.
    pub content: Vec<u8>,
}

/// One step of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Create or replace.
    Put(Key, Vec<u8>),
    /// Remove; nothing happens to what is not there.
    Delete(Key),
}

/// A store of objects.
pub trait Store: Send {
    /// Reads everything, in the order of the keys.
    ///
    /// # Errors
    /// When the store can't be read.
    fn load(&self) -> Result<Vec<Record>, StoreError>;

    /// The revision of the last transaction; 0 before the first.
    ///
    /// # Errors
    /// When the store can't be read.
    fn revision(&self) -> Result<u64, StoreError>;

    /// Executes all writes in one transaction and returns its revision, greater than all before.
    ///
    /// # Errors
    /// When the store can't be written; nothing has changed then.
    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError>;

    /// Where it is, for people.
    fn place(&self) -> String;
}

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory can't be made.
    #[error("store {path}: cannot create its directory: {source}; create it, or set stateDirectory")]
    CreateDirectory {
        /// The store's file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("store {path}: in use by another process; stop the other agent, or set stateDirectory")]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// It can't be opened or is damaged.
    #[error(
        "store {path}: cannot be opened: {message}; restore it from a backup, or move it away to start empty"
    )]
    Open {
        /// The store's file.
        path: PathBuf,
        /// What the library says.
        message: String,
    },
    /// Another version of the program wrote it.
    #[error(
        "store {path}: has format {found}, this version reads format {expected}; \
         use the version that wrote it, or move it away to start empty"
    )]
    Format {
        /// The store's file.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The format that this version reads and writes.
        expected: u64,
    },
    /// A read failed.
    #[error("store {path}: cannot be read: {message}")]
    Read {
        /// The store's file.
        path: PathBuf,
        /// What the library says.
        message: String,
    },
    /// A transaction failed.
    #[error("store {path}: cannot be written: {message}; nothing was changed; check the disk")]
    Write {
        /// The store's file.
        path: PathBuf,
        /// What the library says.
        message: String,
    },
}

#[cfg(test)]
pub(crate) mod tests;
