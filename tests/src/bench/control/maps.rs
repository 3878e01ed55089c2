//! The agent's pinned maps, read fast: whole arrays in a few system calls.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use aya::Pod;
use aya::maps::{Array, Map, MapData};
use lb_common::backend::BackendValue;
use lb_common::maglev::SlotPair;
use lb_common::map;

/// The command `BPF_MAP_LOOKUP_ELEM`.
const LOOKUP: libc::c_int = 1;
/// The command `BPF_MAP_LOOKUP_BATCH`.
const LOOKUP_BATCH: libc::c_int = 24;

/// BACKENDS and MAGLEV of a running agent.
pub(super) struct Maps {
    backends: Array<MapData, BackendValue>,
    all_backends: MapData,
    maglev: MapData,
    /// Tables that were read, by listener, with the ids of their maps.
    tables: Mutex<HashMap<u32, (u32, Mapping)>>,
}

impl Maps {
    pub(super) fn open(pins: &Path) -> Result<Self> {
        let pin = |name| {
            let path = pins.join(map::ABI_VERSION.to_string()).join(name);
            MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))
        };
        Ok(Self {
            backends: Array::try_from(Map::Array(pin(map::BACKENDS)?)).context("open BACKENDS")?,
            all_backends: pin(map::BACKENDS)?,
            maglev: pin(map::MAGLEV)?,
            tables: Mutex::default(),
        })
    }

    /// One backend.
    pub(super) fn backend(&self, id: u32) -> Result<BackendValue> {
        self.backends.get(&id, 0).with_context(|| format!("read backend {id}"))
    }

    /// All backends by id, those that never were included.
    pub(super) fn backends(&self) -> Result<Vec<BackendValue>> {
        read(&self.all_backends).context("read BACKENDS")
    }

    /// The ids in the table of a listener, slot by slot; none where it has no table.
    pub(super) fn table(&self, listener: u32) -> Result<Vec<u32>> {
        let Some(id) = inner(&self.maglev, listener).context("read MAGLEV")? else { return Ok(Vec::new()) };
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.get(&listener).is_none_or(|(known, _)| *known != id) {
            // It may have been replaced since.
            let Ok(table) = MapData::from_id(id) else { return Ok(Vec::new()) };
            tables.insert(listener, (id, Mapping::new(&table).context("map a table")?));
        }
        let pairs = tables.get(&listener).into_iter().flat_map(|(_, table)| table.pairs());
        Ok(pairs.flat_map(|pair| pair.0).filter(|id| *id != 0).collect())
    }
}

/// A table in this process's memory, to be read.
struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: it owns what is mapped, and words are read atomically.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(table: &MapData) -> Result<Self> {
        let info = table.info()?;
        ensure!(
            info.value_size() as usize == size_of::<AtomicU64>(),
            "values of {} bytes",
            info.value_size()
        );
        let words = info.max_entries() as usize;
        let (bytes, map) = (words * size_of::<AtomicU64>(), table.fd().as_fd().as_raw_fd());
        // SAFETY: nothing of this process is there yet, and the kernel keeps the map as long as it is mapped.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, map, 0) };
        ensure!(start != libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let start = NonNull::new(start).context("a table at address 0")?.cast();
        Ok(Self { start, words })
    }

    fn pairs(&self) -> impl Iterator<Item = SlotPair> {
        // SAFETY: so many words are mapped as long as this lives; the agent changes them as a whole.
        let words = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) };
        words.iter().map(|word| SlotPair::of_word(word.load(Ordering::Relaxed)))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and nobody looks at it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * size_of::<AtomicU64>()) };
    }
}

/// The address of a backend of IPv4.
pub(super) fn address(backend: &BackendValue) -> Ipv4Addr {
    let [a, b, c, d, ..] = backend.address;
    Ipv4Addr::new(a, b, c, d)
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn inner(outer: &MapData, index: u32) -> io::Result<Option<u32>> {
    let mut id = 0_u32;
    let map = outer.fd().as_fd().as_raw_fd().cast_unsigned();
    let (key, value) = (&raw const index as u64, &raw mut id as u64);
    let mut attributes = Element { map, padding: 0, key, value, flags: 0 };
    // SAFETY: an array of maps has keys and values of four bytes, which outlive the call.
    match unsafe { call(LOOKUP, &mut attributes) } {
        Ok(()) => Ok(Some(id)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[repr(C)]
struct Batch {
    start: u64,
    next: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// All elements of an array.
fn read<V: Pod>(array: &MapData) -> Result<Vec<V>> {
    let info = array.info().context("look at a map")?;
    ensure!(info.value_size() as usize == size_of::<V>(), "values of {} bytes", info.value_size());
    let entries = info.max_entries();
    // SAFETY: a `Pod` may hold any bit pattern, also zero.
    let nothing: V = unsafe { std::mem::zeroed() };
    let mut values = vec![nothing; entries as usize];
    let mut keys = vec![0_u32; entries as usize];
    let mut next = 0_u32;
    let mut batch = Batch {
        start: 0,
        next: &raw mut next as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: entries,
        map: array.fd().as_fd().as_raw_fd().cast_unsigned(),
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: keys and values have room for `count` elements of the map's sizes, and outlive the call.
    match unsafe { call(LOOKUP_BATCH, &mut batch) } {
        Ok(()) => {}
        // The end of the map, which is where this should stop.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error).context("read a map"),
    }
    if batch.count != entries {
        bail!("{} of {entries} elements were read", batch.count);
    }
    Ok(values)
}

/// # Safety
/// All that `attributes` point to must be as the command wants it.
unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<()> {
    let pointer: *mut T = attributes;
    // SAFETY: the size is that of what the pointer points to; the rest is the caller's word.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
