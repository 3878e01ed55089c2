//! What every provider of VMs tells.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::vm::VirtualMachines;

/// The VMs, as far as they are known.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// The latest facts that were good.
    pub vms: Arc<VirtualMachines>,
    /// Why there are no newer ones.
    pub problem: Option<String>,
    /// Why some of their addresses may be missing.
    pub lacking: Option<String>,
}

/// A source of facts about VMs.
pub trait Provider {
    /// The facts as they change. They are those of the latest good reading, so that a slip of the pen stops
    /// nobody's traffic.
    fn facts(&self) -> watch::Receiver<Facts>;

    /// Where the facts come from, for people.
    fn place(&self) -> String;
}
