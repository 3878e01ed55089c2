//! BACKEND_LOAD: how many live flows each backend has. The packet programs count new ones up, and what the flow
//! table says is written over it once a walk.

use std::sync::atomic::Ordering;

use aya::maps::MapData;
use lb_common::backend::{BackendRef, BackendValue};
use lb_common::map;

use super::mapping::Mapping;
use crate::datapath::flows::model::Survey;
use crate::datapath::kernel::error::KernelError;
use crate::datapath::kernel::maps::{batch_failed, failed};
use crate::datapath::kernel::pins::Pins;
use crate::datapath::kernel::raw;

/// The map, and that which knows the generations that its ids are in.
pub(super) struct Loads {
    loads: Mapping,
    backends: MapData,
}

impl Loads {
    /// Maps what is pinned.
    pub(super) fn open(pins: &Pins) -> Result<Self, KernelError> {
        let open = |name| MapData::from_pin(pins.map(name)).map_err(failed("open", name));
        let loads =
            Mapping::new(&open(map::BACKEND_LOAD)?).map_err(batch_failed("map", map::BACKEND_LOAD))?;
        Ok(Self { loads, backends: open(map::BACKENDS)? })
    }

    /// Writes what was counted: live flows of each id's present generation.
    pub(super) fn write(&self, survey: &Survey) -> Result<(), KernelError> {
        let backends: Vec<BackendValue> =
            raw::read(&self.backends).map_err(batch_failed("read", map::BACKENDS))?;
        for ((id, backend), load) in (0..).zip(&backends).zip(self.loads.words()) {
            let live = survey.of(BackendRef::new(id, backend.generation)).live();
            // A new flow that is counted in between is in the next survey.
            load.store(u64::from(live), Ordering::Relaxed);
        }
        Ok(())
    }
}
