//! Which address: pools, their selection, and the addresses that they give.
//!
//! Input: pools as they are stored, and a checked load balancer. Output: the address, and the pools as they are
//! to be stored, in one transaction: who has which address is written nowhere else, so a crash loses nothing.
//!
//! Architecture invariant: nothing here knows a clock or a store; asking twice gives the same address.

pub mod announce;
pub mod assign;
pub mod dhcp;
pub mod pool;
pub mod select;

pub use assign::{Assignment, assign, release};
