//! What the datapath should do, in the order in which plans compare it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::datapath::model::{ListenerAddress, Placement, VipPolicy};
pub use crate::model::check::ForwardingMode;

/// Everything that the datapath should serve.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Desired {
    /// VIPs that this node answers for.
    pub vips: BTreeMap<IpAddr, VipPolicy>,
    /// Listeners, each on one of `vips`.
    pub listeners: BTreeMap<ListenerAddress, DesiredListener>,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DesiredListener {
    /// Drop what no backend can take, instead of answering.
    pub drop_unserved: bool,
    /// Slots of its Maglev table: one of [`lb_common::maglev::SIZES`].
    pub slots: u32,
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
