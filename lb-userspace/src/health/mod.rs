//! Who is well: probes of backends, from this node.
//!
//! Input: the [`model::WantedBackends`]. Output: a snapshot of who is ready. [`sm`] decides, [`task`] probes.

pub mod model;
pub mod sm;
pub mod task;
