//! What goes into a turn, and what comes out of it.

use std::sync::Arc;

use crate::control::resources::Resources;
use crate::datapath::nudge::model::Ended;
use crate::health::model::{Snapshot, WantedBackends};
use crate::inventory::links::{Addresses, Topology};
use crate::ipam::announce::model::Announced;
use crate::ipam::dhcp::model::{Facts as Leases, Wanted};
use crate::model::vm::VirtualMachines;

/// What is known of the world.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    /// What users want.
    pub resources: Arc<Resources>,
    /// Who exists; `None` until the first time that the inventory could be read.
    pub virtual_machines: Option<Arc<VirtualMachines>>,
    /// Who is well.
    pub health: Snapshot,
    /// This node's network.
    pub topology: Arc<Topology>,
    /// What DHCP servers lent.
    pub leases: Leases,
}

/// What others are to find out.
#[derive(Clone, Default, Debug)]
pub struct Questions {
    /// Whom to probe.
    pub probes: WantedBackends,
    /// Which addresses to resolve.
    pub addresses: Arc<Addresses>,
}

/// What others are to do, after what the datapath was told: no address is given back that is served.
#[derive(Clone, Default, Debug)]
pub struct Wishes {
    /// Which addresses to obtain by DHCP.
    pub leases: Arc<Wanted>,
    /// Whose clients to nudge.
    pub ended: Ended,
    /// What to announce; `None` where that is as it was, or too little is known.
    pub announced: Option<Announced>,
}
