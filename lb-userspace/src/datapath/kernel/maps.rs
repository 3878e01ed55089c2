//! The maps that the agent writes.

use std::io;
use std::sync::atomic::Ordering;

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use aya::{Ebpf, Pod};
use lb_common::backend::BackendValue;
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::policy::LimitsValue;
use lb_common::port::PortValue;
use lb_common::stats::Stats;

use super::error::KernelError;
use super::family::FamilyMaps;
use super::flows::mapping::Mapping;
use super::pins::Pins;
use super::settings::SharedSettings;
use super::shape::{Shapes, TableShape};
use super::{raw, wire};
use crate::datapath::model::BackendId;

/// Typed handles.
pub(super) struct Maps {
    pub(super) v4: FamilyMaps<Ipv4>,
    pub(super) v6: FamilyMaps<Ipv6>,
    pub(super) backends: Array<MapData, BackendValue>,
    /// BACKENDS again, in this process's memory, to be read whole.
    pub(super) all_backends: Mapping,
    pub(super) ports: Array<MapData, PortValue>,
    pub(super) settings: SharedSettings,
    pub(super) limits: Array<MapData, LimitsValue>,
    /// LIMITS again, to be read whole.
    pub(super) all_limits: MapData,
    pub(super) listener_stats: PerCpuArray<MapData, Stats>,
    pub(super) listener_pasts: Array<MapData, Stats>,
    pub(super) backend_stats: PerCpuArray<MapData, Stats>,
    pub(super) reasons: PerCpuArray<MapData, u64>,
    /// The number of indices in MAGLEV.
    pub(super) table_count: u32,
    maglev: MapData,
    table: TableShape,
}

impl Maps {
    /// Opens those that are pinned.
    pub(super) fn open(pins: &Pins, shapes: &Shapes) -> Result<Self, KernelError> {
        let maglev = whole(pins, map::MAGLEV)?;
        let table_count = maglev.info().map_err(failed("read", map::MAGLEV))?.max_entries();
        Ok(Self {
            v4: FamilyMaps::open(pins)?,
            v6: FamilyMaps::open(pins)?,
            backends: open(pins, map::BACKENDS)?,
            all_backends: Mapping::new(&whole(pins, map::BACKENDS)?)
                .map_err(batch_failed("map", map::BACKENDS))?,
            ports: open(pins, map::PORTS)?,
            settings: SharedSettings::open(pins)?,
            limits: open(pins, map::LIMITS)?,
            all_limits: whole(pins, map::LIMITS)?,
            listener_stats: open(pins, map::LISTENER_STATS)?,
            listener_pasts: open(pins, map::LISTENER_PASTS)?,
            backend_stats: open(pins, map::BACKEND_STATS)?,
            reasons: open(pins, map::REASONS)?,
            table_count,
            maglev,
            table: shapes.table,
        })
    }

    /// MAGLEV itself.
    #[cfg(test)]
    pub(super) fn outer(&self) -> &MapData {
        &self.maglev
    }

    /// The table at an index; empty where there is none.
    pub(super) fn table(&self, index: u32) -> Result<Vec<BackendId>, KernelError> {
        let slots = self.mapped_table(index)?.map(|table| wire::table(table.words()));
        Ok(slots.unwrap_or_default())
    }

    /// The table at an index, in this process's memory; `None` where there is none.
    fn mapped_table(&self, index: u32) -> Result<Option<Mapping>, KernelError> {
        let failed_to_read = batch_failed("read a table of", map::MAGLEV);
        let Some(id) = raw::id_at(&self.maglev, index).map_err(&failed_to_read)? else { return Ok(None) };
        let table = MapData::from_id(id).map_err(failed("open a table of", map::MAGLEV))?;
        Mapping::new(&table).map(Some).map_err(failed_to_read)
    }

    /// Puts tables at their indices. One that takes the place of another of as many slots is written into it, word
    /// by word, and a packet sees each slot as it was or as it is. The others are built whole, then swapped in
    /// together: the kernel waits until no packet looks at what was there before.
    pub(super) fn put_tables(&mut self, tables: &[(u32, Vec<BackendId>)]) -> Result<(), KernelError> {
        let mut fresh = Vec::new();
        for (index, slots) in tables {
            match self.mapped_table(*index)? {
                Some(table) if wire::slots(table.words()) == slots.len() => write(&table, slots),
                Some(_) | None => fresh.push((*index, self.new_table(slots)?)),
            }
        }
        raw::set_inner_maps(&self.maglev, &fresh).map_err(batch_failed("write", map::MAGLEV))
    }

    pub(super) fn new_table(&self, slots: &[BackendId]) -> Result<MapData, KernelError> {
        let shape =
            self.table.holding(lb_common::maglev::pairs(u32::try_from(slots.len()).unwrap_or(u32::MAX)));
        let shape =
            shape.map_err(|room| KernelError::TableSize { slots: slots.len(), room: room as usize * 2 })?;
        let table =
            MapData::create(shape, "lb_table", None).map_err(failed("create a table of", map::MAGLEV))?;
        write(&Mapping::new(&table).map_err(batch_failed("fill a table of", map::MAGLEV))?, slots);
        Ok(table)
    }

    /// Drops the table at an index, if there is one.
    pub(super) fn remove_table(&mut self, index: u32) -> Result<(), KernelError> {
        raw::remove_inner_map(&self.maglev, index).map_err(batch_failed("remove a table of", map::MAGLEV))
    }

    /// Counts from zero again.
    pub(super) fn zero(
        stats: &mut PerCpuArray<MapData, Stats>,
        name: &'static str,
        index: u32,
    ) -> Result<(), KernelError> {
        let cpus = nr_cpus().map_err(|(_, error)| error);
        let zeros = cpus.and_then(|cpus| PerCpuValues::try_from(vec![Stats::default(); cpus]));
        let zeros = zeros.map_err(batch_failed("zero", name))?;
        stats.set(index, zeros, 0).map_err(failed("zero", name))
    }
}

/// Stores what differs. A slot that nobody has is left at the end of an odd number of them.
fn write(table: &Mapping, slots: &[BackendId]) {
    for (word, new) in table.words().iter().zip(wire::slot_words(slots)) {
        if word.load(Ordering::Relaxed) != new {
            word.store(new, Ordering::Relaxed);
        }
    }
}

/// Takes a map out of what has been loaded.
pub(super) fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<aya::maps::Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(KernelError::Lacking(name))?;
    T::try_from(map).map_err(failed("open", name))
}

/// Opens a pinned map.
pub(super) fn open<T>(pins: &Pins, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<aya::maps::Map, Error = MapError>,
{
    let map = whole(pins, name)?;
    aya::maps::Map::from_map_data(map).and_then(T::try_from).map_err(failed("open", name))
}

/// Opens a pinned map, to be read whole.
pub(super) fn whole(pins: &Pins, name: &'static str) -> Result<MapData, KernelError> {
    MapData::from_pin(pins.map(name)).map_err(failed("open", name))
}

/// Looks a value up in a hash.
pub(super) fn lookup<K: Pod, V: Pod>(
    hash: &HashMap<MapData, K, V>,
    name: &'static str,
    key: &K,
) -> Result<Option<V>, KernelError> {
    match hash.get(key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(failed("read", name)(source)),
    }
}

/// Removes a key from a hash, if it is there.
pub(super) fn remove<K: Pod, V: Pod>(
    hash: &mut HashMap<MapData, K, V>,
    name: &'static str,
    key: &K,
) -> Result<(), KernelError> {
    absent_is_fine(hash.remove(key), name)
}

/// What came of a removal.
pub(super) fn absent_is_fine(removed: Result<(), MapError>, name: &'static str) -> Result<(), KernelError> {
    match removed {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(source) if is_missing(&source) => Ok(()),
        Err(source) => Err(failed("remove from", name)(source)),
    }
}

fn is_missing(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(call) if call.io_error.kind() == io::ErrorKind::NotFound)
}

pub(super) fn failed(operation: &'static str, map: &'static str) -> impl Fn(MapError) -> KernelError {
    move |source| KernelError::Map { operation, map, source }
}

pub(super) fn batch_failed(operation: &'static str, map: &'static str) -> impl Fn(io::Error) -> KernelError {
    move |source| KernelError::Batch { operation, map, source }
}
