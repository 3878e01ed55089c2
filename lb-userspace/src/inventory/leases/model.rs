//! Leases, as far as they tell of VMs.

use std::net::IpAddr;

use lb_common::net::Mac;

/// An address that is lent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::inventory) struct Lease {
    /// The address.
    pub(in crate::inventory) address: IpAddr,
    /// The client's hardware address, as far as it is told.
    pub(in crate::inventory) mac: Option<Mac>,
    /// What the client calls itself; empty if it doesn't.
    pub(in crate::inventory) hostname: String,
    /// When it ends, in seconds since 1970; `None` is never.
    pub(in crate::inventory) ends: Option<i64>,
}

/// All leases, as far as they are known.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::inventory) struct Leases {
    /// Those that have not ended; what ends last comes first.
    pub(in crate::inventory) live: Vec<Lease>,
    /// Which files can't be read, and why.
    pub(in crate::inventory) problem: Option<String>,
}
