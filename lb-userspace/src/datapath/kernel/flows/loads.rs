//! BACKEND_LOAD: how many live flows each backend has. The packet programs count new ones up, and what the flow
//! table says is written over it once a walk.

use std::sync::atomic::Ordering;

use lb_common::backend::{BackendRef, BackendValue};
use lb_common::map;

use super::mapping::Mapping;
use crate::datapath::flows::model::Survey;
use crate::datapath::kernel::error::KernelError;
use crate::datapath::kernel::maps::{batch_failed, whole};
use crate::datapath::kernel::pins::Pins;

/// The map, and that which knows the generations that its ids are in.
pub(super) struct Loads {
    loads: Mapping,
    backends: Mapping,
}

impl Loads {
    /// Maps what is pinned.
    pub(super) fn open(pins: &Pins) -> Result<Self, KernelError> {
        let open = |name| Mapping::new(&whole(pins, name)?).map_err(batch_failed("map", name));
        Ok(Self { loads: open(map::BACKEND_LOAD)?, backends: open(map::BACKENDS)? })
    }

    /// Writes what was counted: live flows of each id's present generation.
    pub(super) fn write(&self, survey: &Survey) {
        let backends = self.backends.values::<BackendValue>();
        for ((id, backend), load) in (0..).zip(backends).zip(self.loads.words()) {
            let live = survey.of(BackendRef::new(id, backend.generation)).live();
            // A new flow that is counted in between is in the next survey.
            load.store(u64::from(live), Ordering::Relaxed);
        }
    }
}
