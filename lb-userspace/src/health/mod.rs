//! Who is well: probes of backends, from this node.
//!
//! Input: the [`model::Target`]s to probe. Output: a snapshot of who is ready. [`sm`] decides, [`task`] probes.

pub mod model;
pub mod sm;
pub mod task;
