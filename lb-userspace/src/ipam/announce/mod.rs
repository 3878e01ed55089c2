//! Announcements: the network is told behind which MAC a VIP is, where that is new.
//!
//! Whoever has asked for a VIP remembers the answer for a minute or longer. A bridge without an address of its own
//! has the lowest one of its ports, so it changes when a VM starts; and a VIP may have been another node's a moment
//! ago. So each VIP is announced when it appears, and all of them where the MAC is another one: by ARP (RFC 5227
//! section 2.3), and by unsolicited advertisements (RFC 4861 section 7.2.6).
//!
//! Input: [`model::Announced`] and the time. Output: frames.
//!
//! Architecture invariant: nothing is sent in the name of an address that is not served.

pub mod model;
mod socket;
pub mod task;
mod wire;
