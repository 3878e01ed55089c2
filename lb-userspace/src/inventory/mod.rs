//! Who exists: facts about this node and the VMs, as they change.
//!
//! [`vms::Provider`] tells of VMs; there are two: a watched file and memory. `guest` asks VMs of the file for their
//! addresses. [`links`] tells of the node.

pub mod file;
mod guest;
pub mod links;
pub mod memory;
pub mod vms;
