//! Which programs are loaded and of which build: an agent need not load again what one of its own build has left.
//!
//! LOADED has, for each [`Set`] of programs, the [`Build`] that they are of and their ids, which the kernel gives to no
//! other program as long as it runs. It is written when all are in their places, and says nothing of those that are
//! there now: whoever reads it compares the ids. So it need not be true at any moment of an upgrade, nor after an agent
//! that does not know it.

use aya::Pod;
use aya::maps::{Array, Map, MapData, MapInfo};
use lb_common::map::{self, program};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use super::error::KernelError;
use super::maps::{self, failed};
use super::pins::{self, Pins};
use super::programs::ATTACHED;
use super::{OBJECT, processes};

/// The name of its pin. No program has to do with it.
pub(super) const LOADED: &str = "LOADED";
/// Elements: one for each [`Set`].
const SETS: u32 = 2;
/// Programs of a set.
const MOST: usize = 40;

/// Programs that are loaded together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Set {
    /// All stages of all hooks.
    Packets,
    /// Those of processes' sockets.
    Sockets,
}

const _: () = assert!(program::STAGES.len() + ATTACHED.len() <= MOST && program::SOCKETS.len() <= MOST);

/// All that makes a loaded program what it is: the object, who loads it, the constants put into it, and the maps it
/// works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Build([u8; SHA256_OUTPUT_LEN]);

impl Build {
    /// This agent's, over the maps that are pinned.
    pub(super) fn over(pins: &Pins) -> Result<Self, KernelError> {
        Self::of(OBJECT, pins)
    }

    pub(super) fn of(object: &[u8], pins: &Pins) -> Result<Self, KernelError> {
        let mut digest = Context::new(&SHA256);
        digest.update(object);
        digest.update(env!("CARGO_PKG_VERSION").as_bytes());
        digest.update(&processes::network().to_ne_bytes());
        for name in map::ALL {
            let path = pins.map(name);
            let info = path.exists().then(|| MapInfo::from_pin(&path)).transpose();
            let id = info.map_err(failed("open the pinned map", name))?.map_or(0, |info| info.id());
            digest.update(&id.to_ne_bytes());
        }
        let mut build = [0; SHA256_OUTPUT_LEN];
        build.copy_from_slice(digest.finish().as_ref());
        Ok(Self(build))
    }
}

/// What LOADED has of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Loaded {
    build: [u8; SHA256_OUTPUT_LEN],
    /// Their ids; 0, which no program has, for the rest.
    programs: [u32; MOST],
}

// SAFETY: arrays of integers without padding.
unsafe impl Pod for Loaded {}

impl Loaded {
    fn new(build: Build, ids: &[u32]) -> Self {
        let mut programs = [0; MOST];
        programs.iter_mut().zip(ids).for_each(|(place, id)| *place = *id);
        Self { build: build.0, programs }
    }
}

/// Whether these are the programs of a set, as an agent of this build has loaded them over maps that are all pinned.
pub(super) fn is(pins: &Pins, set: Set, build: Build, ids: &[u32]) -> Result<bool, KernelError> {
    if !map::ALL.iter().all(|name| pins.map(name).exists()) {
        return Ok(false);
    }
    let Some(array) = open(pins) else { return Ok(false) };
    let loaded = array.get(&(set as u32), 0).map_err(failed("read", LOADED))?;
    Ok(loaded == Loaded::new(build, ids))
}

/// Notes the programs of a set, all of which are in their places.
pub(super) fn note(pins: &Pins, set: Set, build: Build, ids: &[u32]) -> Result<(), KernelError> {
    let mut array = match open(pins) {
        Some(array) => array,
        None => create(pins)?,
    };
    array.set(set as u32, Loaded::new(build, ids), 0).map_err(failed("write", LOADED))
}

/// `None` where there is none, or something else, as of an agent that notes other things.
fn open(pins: &Pins) -> Option<Array<MapData, Loaded>> {
    let found = MapData::from_pin(pins.map(LOADED)).and_then(Map::from_map_data).ok()?;
    let array = Array::try_from(found).ok();
    array.filter(|array: &Array<MapData, Loaded>| array.len() == SETS)
}

/// In place of whatever is there.
fn create(pins: &Pins) -> Result<Array<MapData, Loaded>, KernelError> {
    let (path, fresh) = (pins.map(LOADED), pins.map("LOADED-new"));
    pins::remove(&fresh)?;
    let array = Array::<MapData, Loaded>::create(SETS, 0).map_err(failed("create", LOADED))?;
    array.pin(&fresh).map_err(|error| KernelError::Link { path: fresh.clone(), source: error.into() })?;
    pins::rename(&fresh, &path)?;
    maps::open(pins, LOADED)
}
