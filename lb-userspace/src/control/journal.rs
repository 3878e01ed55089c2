//! The latest changes of stored objects, for those who watch.
//!
//! Input: what a transaction has changed. Output: all changes after a revision, or that they are forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// It is new.
    Added,
    /// It is another.
    Modified,
    /// It is gone; what is told is its last state.
    Deleted,
}

/// One change of one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The transaction that made it.
    pub revision: u64,
    /// What happened.
    pub happened: Happened,
    /// The object's resource, as in API paths.
    pub resource: &'static str,
    /// The object's namespace; empty for what has none.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The labels that it had before; `None` if it was not there.
    pub labels_before: Option<BTreeMap<String, String>>,
    /// The labels that it has now, or had last.
    pub labels: BTreeMap<String, String>,
    /// The object as JSON.
    pub text: String,
}

/// Changes that can't be told any more, or not yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "changes since resourceVersion {asked} are not known: they are known from {oldest} to {newest}; list again"
)]
pub struct NotKnown {
    /// The revision asked for.
    pub asked: u64,
    /// The oldest revision after which changes are known.
    pub oldest: u64,
    /// The newest revision.
    pub newest: u64,
}

/// The changes after a revision, bounded in number and size.
#[derive(Debug)]
pub struct Journal {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    oldest: u64,
    newest: u64,
}

impl Journal {
    /// A thousand load balancers may each change a few times while a watcher reconnects.
    const MAX_ENTRIES: usize = 8192;
    /// A pool's text is long when many have its addresses.
    const MAX_BYTES: usize = 8 << 20;

    /// Knows of nothing before `revision`.
    pub const fn new(revision: u64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, oldest: revision, newest: revision }
    }

    /// Adds what one transaction has changed, and forgets the oldest changes where there is no room. The newest transaction
    /// is kept whatever its size: whoever knows all before it is told of it.
    pub fn push(&mut self, revision: u64, entries: impl IntoIterator<Item = Entry>) {
        self.newest = revision;
        for entry in entries {
            self.bytes += entry.text.len();
            self.entries.push_back(Arc::new(entry));
        }
        while self.entries.len() > Self::MAX_ENTRIES || self.bytes > Self::MAX_BYTES {
            let Some(first) = self.entries.pop_front_if(|first| first.revision != revision) else { break };
            self.bytes -= first.text.len();
            // What is left of its transaction can't be told whole.
            self.oldest = first.revision;
        }
    }

    /// The newest revision.
    pub const fn revision(&self) -> u64 {
        self.newest
    }

    /// All changes after a revision, in their order.
    ///
    /// # Errors
    /// When some of them are forgotten, or the revision has not been reached.
    pub fn since(&self, revision: u64) -> Result<Vec<Arc<Entry>>, NotKnown> {
        if !(self.oldest..=self.newest).contains(&revision) {
            return Err(NotKnown { asked: revision, oldest: self.oldest, newest: self.newest });
        }
        let first = self.entries.partition_point(|entry| entry.revision <= revision);
        Ok(self.entries.iter().skip(first).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: u64, size: usize) -> Entry {
        Entry {
            revision,
            happened: Happened::Modified,
            resource: "ippools",
            namespace: String::new(),
            name: "lab".into(),
            labels_before: None,
            labels: BTreeMap::new(),
            text: "x".repeat(size),
        }
    }

    fn revisions(journal: &Journal, since: u64) -> Result<Vec<u64>, NotKnown> {
        Ok(journal.since(since)?.iter().map(|entry| entry.revision).collect())
    }

    #[test]
    fn changes_are_told_in_order_from_any_known_revision() {
        let mut journal = Journal::new(7);
        journal.push(8, [entry(8, 1), entry(8, 1)]);
        journal.push(10, [entry(10, 1)]);
        assert_eq!(revisions(&journal, 7), Ok(vec![8, 8, 10]));
        assert_eq!(revisions(&journal, 8), Ok(vec![10]));
        assert_eq!(revisions(&journal, 10), Ok(vec![]));
        for unknown in [6, 11] {
            assert_eq!(revisions(&journal, unknown), Err(NotKnown { asked: unknown, oldest: 7, newest: 10 }));
        }
    }

    #[test]
    fn what_is_forgotten_is_refused_and_not_passed_over() {
        let mut journal = Journal::new(0);
        for revision in 1..=Journal::MAX_ENTRIES as u64 + 2 {
            journal.push(revision, [entry(revision, 1)]);
        }
        assert!(journal.since(1).is_err());
        assert_eq!(journal.since(2).unwrap().len(), Journal::MAX_ENTRIES);
        // Half of a transaction is not told either.
        journal.push(9000, [entry(9000, Journal::MAX_BYTES), entry(9000, 1)]);
        let before = Journal::MAX_ENTRIES as u64 + 2;
        assert_eq!(revisions(&journal, before), Ok(vec![9000, 9000]), "the newest is told whatever its size");
        journal.push(9001, [entry(9001, 1)]);
        assert_eq!(revisions(&journal, before).unwrap_err().oldest, 9000);
        assert_eq!(revisions(&journal, 9000), Ok(vec![9001]));
    }
}
