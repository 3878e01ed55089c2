//! Loaded programs that serve one test after another: the verifier's time for them is a hundred times that of
//! most tests.

use std::sync::{Mutex, PoisonError};

use aya::maps::Map;

use super::blank::blank;
use super::object::{Programs, Sizes};

/// Programs that no test uses at the moment. Tests run on threads of one process that know nothing of one
/// another, so this is the one thing that they share.
static IDLE: Mutex<Vec<(Sizes, Programs)>> = Mutex::new(Vec::new());

/// Programs over empty maps of these sizes: others' that are done with them, or new ones.
///
/// # Errors
/// Says why tests can't have BPF here.
pub(super) fn take(sizes: Sizes) -> Result<Programs, String> {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let found = idle.iter().position(|(of, _)| *of == sizes).map(|index| idle.swap_remove(index).1);
    drop(idle);
    found.map_or_else(|| Programs::load(sizes), Ok)
}

/// Empties the maps and keeps the programs for the next test.
pub(super) fn give_back(sizes: Sizes, mut programs: Programs) {
    if programs.ebpf.maps_mut().all(|(name, map)| is_as_new(name, map)) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push((sizes, programs));
    }
}

/// Empties a map. What an LRU hash had to find room for stays with the CPU that held it, so that one that has been
/// near full is not the same as a new one.
fn is_as_new(name: &str, map: &mut Map) -> bool {
    let room = match map {
        Map::LruHashMap(data) => data.info().map_or(0, |info| info.max_entries()),
        _ => u32::MAX,
    };
    blank(name, map) <= room / 8
}
