//! The packet programs: loaded, entered into the arrays by which they hand packets on, and pinned.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aya::maps::{MapData, ProgramArray};
use aya::programs::{Program, ProgramError, ProgramInfo};
use aya::{Ebpf, EbpfLoader};
use lb_common::map::{self, program};

use super::error::KernelError;
use super::loaded::{self, Build, Set};
use super::maps::{failed, open, whole};
use super::pins::{self, Pins};
use super::{OBJECT, processes, raw};

/// Those that are attached.
pub(super) const ATTACHED: [&str; 3] = [program::XDP, program::TC_INGRESS, program::TC_EGRESS];

/// The object of the programs, with the constants that they are loaded with. Maps that are not pinned are created.
pub(super) fn object(pins: &Pins, sizes: &BTreeMap<&'static str, u32>) -> Result<Ebpf, KernelError> {
    let mut loader = EbpfLoader::new();
    for name in map::ALL {
        loader.map_pin_path(name, pins.map(name));
    }
    for (name, entries) in sizes {
        loader.map_max_entries(name, *entries);
    }
    let network = processes::network();
    loader.override_global(program::NODE_NETWORK, &network, true);
    Ok(loader.load(OBJECT)?)
}

/// Whether an agent of this build has loaded those that are in their places.
pub(super) fn are_loaded(pins: &Pins, build: Build) -> Result<bool, KernelError> {
    match ids(pins) {
        Some(ids) => loaded::is(pins, Set::Packets, build, &ids),
        None => Ok(false),
    }
}

/// Loads all of them, then puts them in the place of those of an earlier agent: stages hand on nothing that
/// would have to fit. Those that are attached are pinned; the others are held by the pinned arrays. Gives what they
/// are of.
pub(super) fn load(ebpf: &mut Ebpf, pins: &Pins) -> Result<Build, KernelError> {
    for &(_, _, name) in program::STAGES {
        let program = ebpf.program_mut(name).ok_or(KernelError::Lacking(name))?;
        load_one(program).map_err(|source| KernelError::Program { name, source })?;
    }
    for &(array, stage, name) in program::STAGES {
        let mut stages: ProgramArray<MapData> = open(pins, array)?;
        let program = ebpf.program(name).ok_or(KernelError::Lacking(name))?;
        let fd = program.fd().map_err(|source| KernelError::Program { name, source })?;
        stages.set(stage as u32, fd, 0).map_err(failed("write", array))?;
    }
    for name in ATTACHED {
        let program = ebpf.program_mut(name).ok_or(KernelError::Lacking(name))?;
        pin(program, pins, name)?;
    }
    let build = Build::over(pins)?;
    let id = |name| -> Result<u32, KernelError> {
        let program = ebpf.program(name).ok_or(KernelError::Lacking(name))?;
        Ok(program.info().map_err(|source| KernelError::Program { name, source })?.id())
    };
    let stages = program::STAGES.iter().map(|(_, _, name)| *name);
    let ids: Vec<u32> = stages.chain(ATTACHED).map(id).collect::<Result<_, _>>()?;
    loaded::note(pins, Set::Packets, build, &ids)?;
    Ok(build)
}

/// The ids of those that are in their places. `None`: one is missing.
pub(super) fn ids(pins: &Pins) -> Option<Vec<u32>> {
    let in_array =
        |&(array, stage, _): &program::Entry| raw::id_at(&whole(pins, array).ok()?, stage as u32).ok()?;
    let attached = ATTACHED.iter().map(|name| pinned(pins, name));
    program::STAGES.iter().map(in_array).chain(attached).collect()
}

/// The id of a pinned program; `None` where none is.
pub(super) fn pinned(pins: &Pins, name: &str) -> Option<u32> {
    ProgramInfo::from_pin(pins.program(name)).ok().map(|program| program.id())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "stages are of these two kinds; aya may learn more")]
pub(super) fn load_one(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(tc) => tc.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Where a program is pinned before it takes an earlier one's place.
fn fresh(pins: &Pins, name: &str) -> PathBuf {
    pins.program(&format!("{name}-new"))
}

/// Removes the pin of a program, wherever a pinning has come to.
pub(super) fn unpin(pins: &Pins, name: &str) -> Result<(), KernelError> {
    pins::remove(&fresh(pins, name))?;
    pins::remove(&pins.program(name))
}

/// Pins a program, in place of an earlier agent's.
pub(super) fn pin(program: &mut Program, pins: &Pins, name: &str) -> Result<(), KernelError> {
    let (path, fresh) = (pins.program(name), fresh(pins, name));
    pins::remove(&fresh)?;
    let pinned = program.pin(&fresh);
    pinned.map_err(|error| KernelError::Link { path: fresh.clone(), source: error.into() })?;
    pins::rename(&fresh, &path)
}
