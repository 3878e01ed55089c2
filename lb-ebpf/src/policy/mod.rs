//! Who may dial a load balancer, and how much.
//!
//! Input: a packet's tuple and what it dials. Output: go on, or the reason why not. A packet that is turned away
//! here is dropped in silence: whoever is not to be served learns nothing, and costs nothing more.

mod guard;
mod limits;
mod sources;

pub use limits::{flow_granted, packet_granted};
pub use sources::admit;

use lb_common::net::{Address, Ipv4, Ipv6};
use lb_common::policy::{SourceKey, Spent};

/// Addresses that clients have.
pub trait Clients: Address {
    /// What SOURCES says of a client of a load balancer.
    fn listed(key: SourceKey<Self>) -> Option<u32>;

    /// The token buckets of a client of a load balancer, full ones where it is new.
    fn spent(key: &SourceKey<Self>) -> Option<*mut Spent>;

    /// What is one client to a limit.
    fn subscriber(self) -> Self;

    /// See [`packet_granted`]; gives the code of a grant.
    fn packet_granted(self, balancer: u32) -> u32;
}

impl Clients for Ipv4 {
    #[inline(always)]
    fn listed(key: SourceKey<Self>) -> Option<u32> {
        sources::listed_v4(key)
    }

    #[inline(always)]
    fn spent(key: &SourceKey<Self>) -> Option<*mut Spent> {
        limits::spent_v4(key)
    }

    #[inline(always)]
    fn subscriber(self) -> Self {
        self
    }

    #[inline(always)]
    fn packet_granted(self, balancer: u32) -> u32 {
        limits::lb_packet_granted_v4(balancer, self.word(0))
    }
}

impl Clients for Ipv6 {
    #[inline(always)]
    fn listed(key: SourceKey<Self>) -> Option<u32> {
        sources::listed_v6(key)
    }

    #[inline(always)]
    fn spent(key: &SourceKey<Self>) -> Option<*mut Spent> {
        limits::spent_v6(key)
    }

    /// The network of 64 bits: each host in it has as many addresses as it likes.
    #[inline(always)]
    fn subscriber(self) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        Self::new([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    #[inline(always)]
    fn packet_granted(self, balancer: u32) -> u32 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        limits::lb_packet_granted_v6(balancer, u64::from_ne_bytes([a, b, c, d, e, f, g, h]))
    }
}
