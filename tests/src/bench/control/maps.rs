//! The agent's pinned maps, read in this process's memory: who watches them is not to take the agent's processor.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapData;
use lb_common::backend::BackendValue;
use lb_common::maglev::SlotPair;
use lb_common::map;

/// The command `BPF_MAP_LOOKUP_ELEM`.
const LOOKUP: libc::c_int = 1;

/// Words of a backend.
const BACKEND_WORDS: usize = size_of::<BackendValue>() / size_of::<u64>();

/// BACKENDS and MAGLEV of a running agent.
pub(super) struct Maps {
    backends: Mapping,
    maglev: MapData,
    read: Mutex<Read>,
}

struct Read {
    /// Tables that were read, by listener, with the ids of their maps.
    tables: HashMap<u32, (u32, Mapping)>,
    /// How many slots a backend has, by id: all 0 but while they are counted.
    slots: Vec<u32>,
}

impl Maps {
    pub(super) fn open(pins: &Path) -> Result<Self> {
        let pin = |name| {
            let path = pins.join(map::ABI_VERSION.to_string()).join(name);
            MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))
        };
        let backends = Mapping::new(&pin(map::BACKENDS)?).context("map BACKENDS")?;
        ensure!(backends.words.is_multiple_of(BACKEND_WORDS), "BACKENDS of {} words", backends.words);
        let read = Read { tables: HashMap::new(), slots: vec![0; backends.words / BACKEND_WORDS] };
        Ok(Self { backends, maglev: pin(map::MAGLEV)?, read: Mutex::new(read) })
    }

    /// One backend.
    pub(super) fn backend(&self, id: u32) -> Result<BackendValue> {
        let words = self.backends.words().chunks_exact(BACKEND_WORDS).nth(id as usize);
        words.map(backend).with_context(|| format!("no backend {id}"))
    }

    /// All backends by id, those that never were included.
    pub(super) fn backends(&self) -> Vec<BackendValue> {
        self.backends.words().chunks_exact(BACKEND_WORDS).map(backend).collect()
    }

    /// The ids in the table of a listener, slot by slot; none where it has no table.
    pub(super) fn table(&self, listener: u32) -> Result<Vec<u32>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(&mut read, listener)?;
        Ok(read.slots(listener).collect())
    }

    /// How many slots of the table of a listener lead to each backend.
    pub(super) fn shares(&self, listener: u32) -> Result<HashMap<u32, u32>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(&mut read, listener)?;
        let mut counts = std::mem::take(&mut read.slots);
        let mut members = Vec::new();
        for id in read.slots(listener) {
            let count = counts.get_mut(id as usize).with_context(|| format!("no backend {id}"))?;
            if *count == 0 {
                members.push(id);
            }
            *count += 1;
        }
        let shares = members.iter().map(|id| (*id, std::mem::take(&mut counts[*id as usize]))).collect();
        read.slots = counts;
        Ok(shares)
    }

    /// Sees to it that the table is mapped that the listener has now.
    fn read(&self, read: &mut Read, listener: u32) -> Result<()> {
        let id = inner(&self.maglev, listener).context("read MAGLEV")?;
        if read.tables.get(&listener).map(|(known, _)| *known) == id {
            return Ok(());
        }
        read.tables.remove(&listener);
        // It may have been replaced since.
        if let Some(id) = id
            && let Ok(table) = MapData::from_id(id)
        {
            read.tables.insert(listener, (id, Mapping::new(&table).context("map a table")?));
        }
        Ok(())
    }
}

impl Read {
    fn slots(&self, listener: u32) -> impl Iterator<Item = u32> {
        let words = self.tables.get(&listener).into_iter().flat_map(|(_, table)| table.words());
        let pairs = words.map(|word| SlotPair::of_word(word.load(Ordering::Relaxed)));
        pairs.flat_map(|pair| pair.0).filter(|id| *id != 0)
    }
}

fn backend(words: &[AtomicU64]) -> BackendValue {
    let mut value = [0; BACKEND_WORDS];
    value.iter_mut().zip(words).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
    // SAFETY: the sizes are the same, and any bits are a `Pod`.
    unsafe { std::mem::transmute::<[u64; BACKEND_WORDS], BackendValue>(value) }
}

/// An array in this process's memory, to be read.
struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: it owns what is mapped, and words are read atomically.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(array: &MapData) -> Result<Self> {
        let info = array.info()?;
        let size = info.value_size() as usize;
        ensure!(size.is_multiple_of(size_of::<AtomicU64>()), "values of {size} bytes");
        let words = info.max_entries() as usize * size / size_of::<AtomicU64>();
        let (bytes, map) = (words * size_of::<AtomicU64>(), array.fd().as_fd().as_raw_fd());
        // SAFETY: nothing of this process is there yet, and the kernel keeps the map as long as it is mapped.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, map, 0) };
        ensure!(start != libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let start = NonNull::new(start).context("an array at address 0")?.cast();
        Ok(Self { start, words })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped as long as this lives; who changes them does so as a whole, or in parts that
        // are read as they come.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
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

/// # Safety
/// All that `attributes` point to must be as the command wants it.
unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<()> {
    let pointer: *mut T = attributes;
    // SAFETY: the size is that of what the pointer points to; the rest is the caller's word.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
