//! What to do: desired state from facts, a plan from desired and observed state.
//!
//! Architecture invariant: everything here but `task.rs` decides without clock, I/O or async.

pub mod desired;
pub mod hold;
pub mod maglev;
pub mod model;
pub mod placement;
pub mod plan;
pub mod ports;
#[cfg(test)]
mod sample;
pub mod select;
pub mod status;
