//! The packet programs: loaded, entered into the arrays by which they hand packets on, and pinned.

use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::{Program, ProgramError};
use lb_common::map::program;

use super::error::KernelError;
use super::maps::failed;
use super::pins::{self, Pins};

/// Loads all of them, then puts them in the place of those of an earlier agent: stages hand on nothing that
/// would have to fit. Those that are attached are pinned; the others are held by the pinned arrays.
pub(super) fn load(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), KernelError> {
    for &(_, _, name) in program::STAGES {
        let program = ebpf.program_mut(name).ok_or(KernelError::Lacking(name))?;
        load_one(program).map_err(|source| KernelError::Program { name, source })?;
    }
    for &(array, stage, name) in program::STAGES {
        let stages = MapData::from_pin(pins.map(array)).map_err(failed("open", array))?;
        let stages = aya::maps::Map::from_map_data(stages).map_err(failed("open", array))?;
        let mut stages: ProgramArray<MapData> = stages.try_into().map_err(failed("open", array))?;
        let program = ebpf.program(name).ok_or(KernelError::Lacking(name))?;
        let fd = program.fd().map_err(|source| KernelError::Program { name, source })?;
        stages.set(stage as u32, fd, 0).map_err(failed("write", array))?;
    }
    for name in [program::XDP, program::TC_INGRESS, program::TC_EGRESS] {
        pin(ebpf, pins, name)?;
    }
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "stages are of these two kinds; aya may learn more")]
pub(super) fn load_one(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(tc) => tc.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Pins a program, in place of an earlier agent's.
fn pin(ebpf: &mut Ebpf, pins: &Pins, name: &'static str) -> Result<(), KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::Lacking(name))?;
    let (path, fresh) = (pins.program(name), pins.program(&format!("{name}-new")));
    pins::remove(&fresh)?;
    let pinned = program.pin(&fresh);
    pinned.map_err(|error| KernelError::Link { path: fresh.clone(), source: error.into() })?;
    pins::rename(&fresh, &path)
}
