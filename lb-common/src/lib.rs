//! The contract: everything that the packet programs and the agent must agree on byte for byte.
//!
//! No state, no allocation, no I/O. One file per noun, and the same noun names the file on both sides.
//! Types that live in a map are `repr(C)` with their padding spelled out and their size asserted; they hold
//! no `enum`, `bool`, `Option` or `usize`. This crate only grows: a changed layout is a new
//! [`map::ABI_VERSION`].
#![cfg_attr(not(test), no_std)]
#![expect(clippy::inline_always, reason = "the packet programs must not pay for calls")]
#![expect(clippy::cast_possible_truncation, reason = "fields are cut out of wider words")]

pub mod affinity;
pub mod backend;
pub mod bench;
pub mod config;
pub mod csum;
pub mod event;
pub mod flow;
pub mod fragment;
pub mod hash;
pub mod head;
pub mod known;
pub mod listener;
pub mod maglev;
pub mod map;
pub mod net;
pub mod next_hop;
pub mod observe;
pub mod policy;
pub mod port;
pub mod reason;
pub mod socket;
pub mod stage;
pub mod stats;
pub mod vip;
pub mod words;

/// Asserts the size of a map type at compile time and, for userspace, makes it `aya::Pod`.
macro_rules! abi {
    ($type:ty, $size:expr) => {
        const _: () = assert!(core::mem::size_of::<$type>() == $size);
        // SAFETY: the type is `repr(C)` or `repr(transparent)` over integers and byte arrays, the size
        // assertion above leaves no room for implicit padding, and every bit pattern is valid.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $type {}
    };
}
pub(crate) use abi;
