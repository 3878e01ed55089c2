//! Flows, as the agent sees them: who talks to whom now, how full the table is, and what has come to its end.
//!
//! Input: the packet programs' flow table, read in place. Output: [`model::Flow`]s one by one, and a
//! [`model::Survey`] about once a second, in whose course entries that have been idle for too long are emptied.
//!
//! Architecture invariant: packets never wait for a reader, nor for the one who empties.

pub mod model;
pub mod task;

use model::{Flow, Survey};

/// The flow table could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read the flow table: {0}")]
pub struct ReadFlows(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The door to the flow table. Any number of threads may read it at any time.
pub trait FlowTable: Send + Sync {
    /// Visits each flow that has not expired, in no order. A flow that begins or ends meanwhile may be visited
    /// or not; none is visited with another's values. Flows of a backend that is dead, or whose id was given
    /// away, are among them until they expire.
    ///
    /// # Errors
    /// When the table can't be read; some flows may have been visited.
    fn for_each_flow(&self, visitor: &mut dyn FnMut(&Flow)) -> Result<(), ReadFlows>;

    /// Counts flows, by backend and state.
    ///
    /// # Errors
    /// When the table can't be read.
    fn survey(&self) -> Result<Survey, ReadFlows>;

    /// Counts flows as [`FlowTable::survey`] does, and on the way empties what has expired.
    ///
    /// # Errors
    /// When the table can't be read; what has been emptied is.
    fn age(&self) -> Result<Survey, ReadFlows>;
}
