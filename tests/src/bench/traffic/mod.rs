//! Rig B: packets and connections from a client over a node to servers, each in a network namespace of its own.
//!
//! Datagrams are made by the kernel, as frames that a network card has received, and counted and dropped where they arrive.
//! What the machine spends on one is compared with that of other ways over the node, in turns.

mod datagrams;
mod live;
mod neighbours;
mod road;
mod spent;
mod streams;
mod subject;
mod tools;

use anyhow::Result;

pub use datagrams::whole_way;

use super::Effort;
use super::report::Report;

/// Measures the paths whose names contain this.
///
/// # Errors
/// When somebody carries packets wrongly, or something can't be set up.
pub fn run(report: &mut Report, effort: Effort, name: &str) -> Result<()> {
    datagrams::run(report, effort, name)?;
    streams::run(report, effort, name)?;
    neighbours::run(report, effort, name)
}
