//! Addresses that DHCP servers lend (RFC 2131), one lease for each load balancer.
//!
//! Input: [`Wanted`](model::Wanted), frames, the time. Output: frames, and [`Facts`](model::Facts): who has which
//! address until when. No address is ever put on an interface: messages are sent and heard beside the stack, by
//! packet sockets.
//!
//! Architecture invariant: an address is never told as held after its lease has ended.

pub mod clients;
pub mod frame;
pub mod left;
pub mod machine;
pub mod message;
pub mod model;
pub(in crate::ipam) mod socket;
pub mod task;
pub mod wire;
