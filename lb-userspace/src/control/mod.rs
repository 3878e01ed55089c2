//! What to do: desired state from facts, a plan from desired and observed state.
//!
//! Architecture invariant: everything here but `task.rs`, `registry.rs` and `changes.rs` decides without clock, I/O or async.

pub mod admission;
pub mod backend_status;
pub mod changes;
mod choice;
pub mod converge;
mod counts;
pub mod cycle;
mod derive;
pub mod desired;
pub mod flows;
pub mod hold;
pub mod journal;
mod leases;
pub mod maglev;
pub mod model;
pub mod observe;
mod origin;
pub mod placement;
pub mod plan;
pub mod ports;
pub mod registry;
pub mod report;
pub mod reporter;
pub mod resources;
#[cfg(test)]
mod sample;
pub mod select;
mod services;
pub mod status;
mod tags;
pub mod task;
#[cfg(test)]
mod tests;
pub mod tidings;
pub mod tokens;
