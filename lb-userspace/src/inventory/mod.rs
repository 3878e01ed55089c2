//! Who exists: facts about this node and the VMs, as they change.
//!
//! [`vms::Provider`] tells of VMs; there are two: [`sources`], which is all that this node can find out, and memory. VMs
//! are declared in a `file` or by `libvirt`; `guest` agents, DHCP `leases` and neighbours tell their `addresses`. [`links`] tells of the
//! node.

mod addresses;
pub mod file;
mod guest;
mod leases;
mod libvirt;
pub mod links;
pub mod memory;
pub mod sources;
pub mod vms;
mod watch;
