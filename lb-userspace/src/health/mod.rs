//! Who is well: probes of backends, from this node.
//!
//! Input: the [`model::WantedBackends`]. Output: a snapshot of who is ready. [`sm`] decides, [`task`] keeps time,
//! [`probe`] asks.

pub mod failure;
pub mod model;
pub mod probe;
pub mod sm;
pub mod task;
