//! VMs that libvirt runs: its domains, with the labels of their metadata.
//!
//! Input: the daemon's Unix socket, in its own protocol. Output: [`Reading`](super::file::Reading)s, as the inventory
//! file's: who exists, and the addresses that guest agents or libvirt's own networks tell.

mod client;
mod domain;
pub(super) mod task;
mod wire;
