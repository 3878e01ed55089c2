//! What the datapath should do, in the order in which plans compare it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::datapath::model::{ListenerAddress, Placement, Selection, VipPolicy};
use crate::model::check::CheckedPolicy;
pub use crate::model::check::ForwardingMode;

/// Everything that the datapath should serve.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Desired {
    /// VIPs that this node answers for.
    pub vips: BTreeMap<IpAddr, VipPolicy>,
    /// Listeners, each on one of `vips`.
    pub listeners: BTreeMap<ListenerAddress, DesiredListener>,
    /// Addresses of the running VMs: who is not among them has no flow to finish.
    pub running: BTreeSet<IpAddr>,
    /// What clients of a VIP are granted.
    pub policies: BTreeMap<IpAddr, CheckedPolicy>,
}

impl Desired {
    /// Whether anything listens on a VIP.
    pub fn has_listener(&self, vip: IpAddr) -> bool {
        self.listeners.range(ListenerAddress::range_of(vip)).next().is_some()
    }
}

/// What is not desired any more, or not as it was.
#[derive(Clone, Default, Debug)]
pub struct Altered {
    /// VIPs, or what clients of theirs are granted.
    pub vips: BTreeSet<IpAddr>,
    /// Listeners, and their backends.
    pub listeners: BTreeSet<ListenerAddress>,
    /// Addresses at which no VM runs any more.
    pub stopped: BTreeSet<IpAddr>,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DesiredListener {
    /// Drop what no backend can take, instead of answering.
    pub drop_unserved: bool,
    /// Only a SYN opens a connection.
    pub strict: bool,
    /// Slots of its Maglev table: one of [`lb_common::maglev::SIZES`].
    pub slots: u32,
    /// How a new flow's backend is chosen.
    pub selection: Selection,
    /// How long a client keeps its backend after its last new flow.
    pub affinity: Option<Duration>,
    /// How long a backend that leaves may finish its flows; `None`: one that is not desired any more may not,
    /// the others may as long as they last.
    pub draining: Option<Duration>,
    /// How long a backend that gets ready takes to its whole share.
    pub slow_start: Duration,
    /// Its backends, by server address and port.
    pub backends: BTreeMap<SocketAddr, DesiredBackend>,
}

/// One server of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredBackend {
    /// Share of new flows, relative to the others; 0 takes none.
    pub weight: u32,
    /// May take new flows: ready, and not draining.
    pub admitted: bool,
    /// How packets reach it.
    pub placement: Placement,
}
