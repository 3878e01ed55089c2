//! VMs from a YAML file that is watched.
//!
//! Input: the file of the configuration's `inventory.file`. Output: [`Reading`]s, at once after a change. A file
//! that can't be read or means nothing leaves what was declared as it is and says where it is wrong.

mod cut;
mod parse;
mod reader;
pub(super) mod task;

use std::sync::Arc;

pub use parse::{Declared, parse};
#[cfg(any(test, fuzzing))]
pub(crate) use reader::fuzz;

/// The latest good reading, and why there is no newer one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Reading {
    pub(super) declared: Arc<Declared>,
    pub(super) problem: Option<String>,
}
