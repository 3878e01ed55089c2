//! Addresses that DHCP servers have lent, from their lease files.
//!
//! Input: the files of the configuration's `inventory.leases`: dnsmasq's, Kea's and ISC dhcpd's, told apart by what is in
//! them. Output: [`Leases`], at once after a change and when one ends.

pub(super) mod model;
pub(super) mod task;
#[cfg(test)]
mod tests;
mod wire;
