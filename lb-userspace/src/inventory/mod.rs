//! Who exists: facts about this node and the VMs, as they change.

pub mod links;
