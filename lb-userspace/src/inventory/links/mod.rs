//! This node's links, bridges, neighbours and routes.
//!
//! Input: rtnetlink, and the addresses whose paths and neighbours matter. Output: [`Topology`] snapshots.

mod model;

pub use model::{Link, LinkKind, Path, Topology};
