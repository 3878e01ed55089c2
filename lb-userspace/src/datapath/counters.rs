//! What the packet programs have counted.

use std::collections::BTreeMap;

pub use lb_common::reason::Reason;
pub use lb_common::stats::{Stats, Traffic};

use super::flows::model::Survey;
use super::model::{BackendId, ListenerIndex};

/// A snapshot, summed over CPUs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// By listener.
    pub listeners: BTreeMap<ListenerIndex, Stats>,
    /// By backend; an id starts from zero with each use.
    pub backends: BTreeMap<BackendId, Stats>,
    /// Why packets were not simply forwarded. All reasons, also those that never were.
    pub reasons: BTreeMap<Reason, u64>,
    /// The flow table.
    pub flows: Survey,
}
