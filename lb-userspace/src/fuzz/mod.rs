//! Whatever bytes come, every reader of what others write gives an answer: it never panics, never takes for ever, and
//! what it has read it can write and read again.
//!
//! Only compiled for tests, which try seeds and what is near them, and for libFuzzer (`cargo xtask fuzz`).
#![expect(clippy::expect_used, reason = "what is promised and does not hold is told by a panic")]

mod admission;
mod objects;
#[cfg(test)]
mod tests;

use crate::inventory::file;
use crate::ipam::dhcp::{frame, wire};

/// A reader.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its directory of seeds.
    pub name: &'static str,
    /// Reads, and panics where what it promises does not hold.
    pub run: fn(&[u8]),
}

/// All readers.
pub const TARGETS: &[Target] = &[
    Target { name: "admission", run: admission::run },
    Target { name: "config", run: crate::config::fuzz },
    Target { name: "dhcp", run: dhcp },
    Target { name: "inventory", run: inventory },
    Target { name: "manifests", run: objects::manifests },
    Target { name: "query", run: crate::api::fuzz::query },
    Target { name: "request", run: crate::api::fuzz::request },
    Target { name: "v1alpha1", run: objects::v1alpha1 },
];

impl Target {
    /// By its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

/// A frame of a DHCP server, or of anybody, and the message alone.
fn dhcp(bytes: &[u8]) {
    drop(frame::decode(bytes));
    drop(wire::decode(bytes));
}

/// An inventory file, and another one after a NUL.
fn inventory(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        file::fuzz(text.split('\0'));
    }
}
