//! The node's own processes, which dial VIPs without a packet.

use std::path::PathBuf;

/// Whether they are served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Processes {
    /// Those in this cgroup and below.
    Served {
        /// Its directory.
        cgroup: PathBuf,
    },
    /// None.
    NotServed {
        /// Why not, and what to do.
        reason: String,
    },
}
