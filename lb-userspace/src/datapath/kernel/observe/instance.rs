//! Loading the programs once more.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{MapData, MapInfo, ProgramArray};
use aya::{Ebpf, EbpfLoader};
use lb_common::map::{self, program};
use lb_common::observe::{CaptureFilter, FILTER, OBSERVE};

use super::capture_pin;
use crate::datapath::kernel::OBJECT;
use crate::datapath::kernel::error::KernelError;
use crate::datapath::kernel::maps::{failed, take};
use crate::datapath::kernel::pins::Pins;
use crate::datapath::kernel::programs::load_one;

/// The arrays of stages: an instance has its own, or its packets would go on in another's programs.
pub(super) const STAGES: [&str; 3] = [map::XDP_STAGES, map::TC_INGRESS_STAGES, map::TC_EGRESS_STAGES];

/// What an instance is for.
pub(super) struct Purpose<'a> {
    /// The arrays of the hooks at which it meets packets: to load all takes three times as long as one.
    pub(super) stages: &'a [&'static str],
    /// Bits of [`lb_common::observe`].
    pub(super) observe: u32,
    /// For a capture.
    pub(super) filter: CaptureFilter,
    /// Bytes of the ring buffer CAPTURE, a power of two.
    pub(super) ring: u32,
    /// Does it share a map with the programs that balance?
    pub(super) shares: &'a dyn Fn(&str) -> bool,
    /// Are its arrays of stages to outlive this process?
    pub(super) pinned: bool,
}

/// Loaded programs with their stages.
pub(super) struct Instance {
    pub(super) ebpf: Ebpf,
    /// Without a holder, the kernel empties an array of programs.
    _stages: Vec<ProgramArray<MapData>>,
}

impl Instance {
    pub(super) fn load(pins: &Pins, purpose: &Purpose<'_>) -> Result<Self, KernelError> {
        let mut loader = EbpfLoader::new();
        for name in map::ALL {
            if STAGES.contains(&name) {
                if purpose.pinned {
                    loader.map_pin_path(name, capture_pin(pins, name));
                }
            } else if (purpose.shares)(name) {
                loader.map_pin_path(name, pins.map(name));
            } else {
                let like = MapInfo::from_pin(pins.map(name)).map_err(failed("look at", name))?;
                loader.map_max_entries(name, like.max_entries());
            }
        }
        loader
            .map_max_entries("CAPTURE", purpose.ring)
            .override_global(OBSERVE, &purpose.observe, true)
            .override_global(FILTER, &purpose.filter, true);
        let mut ebpf = loader.load(OBJECT)?;
        let stages = enter_stages(&mut ebpf, purpose.stages)?;
        Ok(Self { ebpf, _stages: stages })
    }

    /// A program that is loaded.
    pub(super) fn program(&self, name: &'static str) -> Result<BorrowedFd<'_>, KernelError> {
        let program = self.ebpf.program(name).ok_or(KernelError::Lacking(name))?;
        let fd = program.fd().map_err(|source| KernelError::Program { name, source })?;
        Ok(fd.as_fd())
    }
}

fn enter_stages(ebpf: &mut Ebpf, names: &[&'static str]) -> Result<Vec<ProgramArray<MapData>>, KernelError> {
    let mut arrays = Vec::new();
    for &name in names {
        let mut array: ProgramArray<MapData> = take(ebpf, name)?;
        for &(_, stage, program) in program::STAGES.iter().filter(|&&(of, ..)| of == name) {
            let refused = |source| KernelError::Program { name: program, source };
            let loaded = ebpf.program_mut(program).ok_or(KernelError::Lacking(program))?;
            load_one(loaded).map_err(refused)?;
            let fd = loaded.fd().map_err(refused)?;
            array.set(stage as u32, fd, 0).map_err(failed("write", name))?;
        }
        arrays.push(array);
    }
    Ok(arrays)
}
