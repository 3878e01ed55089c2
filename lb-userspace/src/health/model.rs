//! Backends to probe, and how well they are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::check::CheckedHealthCheck;
use crate::model::meta::NamespacedName;

/// One server of one load balancer: what is probed, and what is ready or not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Backend {
    /// The load balancer.
    pub lb: NamespacedName,
    /// The server's address.
    pub address: IpAddr,
}

/// How a backend is to be probed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// `None` is not at all: the backend is ready.
    pub check: Option<CheckedHealthCheck>,
    /// What a backend that is new here starts as. It is not ready unless this agent's predecessor found it so.
    pub was_ready: bool,
}

/// All backends, and how each is to be probed.
pub type WantedBackends = BTreeMap<Backend, Wanted>;

/// How well a backend is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    /// May take new flows.
    pub ready: bool,
    /// Why.
    pub reason: Reason,
}

/// How well all backends are.
pub type Snapshot = BTreeMap<Backend, Health>;

/// The latest thing known of a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Its load balancer has no health check.
    NotChecked,
    /// No probe has ended yet.
    NotProbed,
    /// The latest probe succeeded.
    Succeeded,
    /// The latest probe failed.
    Failed(ProbeFailed),
}

impl Reason {
    /// One word, for status and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotChecked => "NotChecked",
            Self::NotProbed => "NotProbed",
            Self::Succeeded => "ProbeSucceeded",
            Self::Failed(failed) => failed.name(),
        }
    }
}

/// Why a probe failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProbeFailed {
    /// The server answered with RST.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The network or the host is out of reach.
    #[error("unreachable")]
    Unreachable,
    /// The operating system refused to probe.
    #[error("cannot probe: {0}")]
    System(std::io::ErrorKind),
}

impl ProbeFailed {
    /// One word, for status and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "ConnectionRefused",
            Self::TimedOut => "ProbeTimedOut",
            Self::Unreachable => "Unreachable",
            Self::System(_) => "ProbeNotPossible",
        }
    }
}
