//! This node's links, bridges, neighbours and routes.
//!
//! Input: rtnetlink, and the addresses whose paths and neighbours matter. Output: [`Topology`] snapshots,
//! pushed when something in them changes.
//!
//! Neighbours of the wanted addresses are kept resolved by using them (`NTF_USE`) as a sender would: that works
//! on every kernel, touches no permanent entry and leaves nothing behind.
//!
//! Architecture invariant: the only place that names rtnetlink.

mod model;
mod moved;
mod questions;
mod socket;
mod state;
mod task;
#[cfg(test)]
mod tests;

pub use model::{Addresses, Link, LinkKind, Path, Topology};
pub use moved::{Moved, Step};
pub use socket::WatchLinks;
pub use task::{run, snapshot};
