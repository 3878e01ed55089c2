//! What VMs say of themselves: QEMU's guest agent, asked at its socket.
//!
//! Input: the sockets, by VM. Output: [`model::Told`] of each. The guest is somebody else's: what it says is bounded
//! in length and time, and addresses that no host can have are passed over.

pub(super) mod model;
mod socket;
pub(super) mod task;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::meta::NamespacedName;

pub(super) use model::merge;

/// The socket of each VM's guest agent.
pub(super) type Guests = BTreeMap<NamespacedName, PathBuf>;

#[cfg(test)]
mod tests;
