//! Maps made as they were when they were created. aya knows a map's types when it is written to; here only its
//! shape is known, so the kernel is asked by `bpf(2)` itself.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::{Map, MapData, RingBuf};
use aya::util::nr_cpus;

/// Commands of `bpf(2)`.
const LOOK_UP_ELEMENT: libc::c_long = 1;
const DELETE_ELEMENT: libc::c_long = 3;
const NEXT_KEY: libc::c_long = 4;
const UPDATE_BATCH: libc::c_long = 26;

/// The kernel's `union bpf_attr`, as the commands on single elements see it.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    /// Or the next key.
    value: u64,
    flags: u64,
}

/// The kernel's `union bpf_attr`, as the commands on many elements see it.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Empties a map, or fills it with zeros if it is an array. Arrays of programs stay as they are. Gives how many
/// keys a hash has lost.
///
/// # Panics
/// When the kernel refuses, or the map is of a kind that no program here has.
pub(super) fn blank(name: &str, map: &mut Map) -> u32 {
    match map {
        // Constants, which the loader has frozen.
        Map::Array(_) if name.starts_with(".rodata") => 0,
        Map::Array(data) => zeros(name, data, 1),
        Map::PerCpuArray(data) => zeros(name, data, nr_cpus().expect("the number of CPUs")),
        Map::HashMap(data) | Map::LruHashMap(data) | Map::LpmTrie(data) => without_keys(name, data),
        Map::ArrayOfMaps(data) => without_maps(name, data),
        Map::RingBuf(_) => {
            let mut ring = RingBuf::try_from(map).unwrap_or_else(|error| panic!("{name}: {error}"));
            while ring.next().is_some() {}
            0
        }
        Map::ProgramArray(_) => 0,
        _ => panic!("{name} is of a kind that nobody knows how to empty"),
    }
}

/// Whether a map is as [`blank`] leaves it.
///
/// # Panics
/// When the kernel refuses.
pub(super) fn is_blank(name: &str, map: &Map) -> bool {
    match map {
        Map::Array(_) if name.starts_with(".rodata") => true,
        Map::Array(data) | Map::ArrayOfMaps(data) => is_zero(name, data, 1),
        Map::PerCpuArray(data) => is_zero(name, data, nr_cpus().expect("the number of CPUs")),
        Map::HashMap(data) | Map::LruHashMap(data) | Map::LpmTrie(data) => {
            let mut key = vec![0_u8; shape(name, data).0];
            !has_key(name, data, &mut key)
        }
        _ => true,
    }
}

/// The sizes of key and value, and the number of entries.
fn shape(name: &str, data: &MapData) -> (usize, usize, u32) {
    let info = data.info().unwrap_or_else(|error| panic!("{name}: {error}"));
    (info.key_size() as usize, info.value_size().next_multiple_of(8) as usize, info.max_entries())
}

fn is_zero(name: &str, data: &MapData, cpus: usize) -> bool {
    let (_, size, count) = shape(name, data);
    let mut value = vec![0_u8; size * cpus];
    (0..count).all(|index| {
        let key = (&raw const index) as u64;
        let element = Element { key, value: value.as_mut_ptr() as u64, ..Element::of(data) };
        match bpf(LOOK_UP_ELEMENT, &element) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            found => {
                found.unwrap_or_else(|error| panic!("read {name}: {error}"));
                value.iter().all(|byte| *byte == 0)
            }
        }
    })
}

/// Whether a hash has a key; if so, it is written to `key`.
fn has_key(name: &str, data: &MapData, key: &mut [u8]) -> bool {
    match bpf(NEXT_KEY, &Element { value: key.as_mut_ptr() as u64, ..Element::of(data) }) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => false,
        found => {
            found.unwrap_or_else(|error| panic!("ask {name} for a key: {error}"));
            true
        }
    }
}

fn zeros(name: &str, data: &MapData, cpus: usize) -> u32 {
    let (_, size, count) = shape(name, data);
    let keys: Vec<u32> = (0..count).collect();
    let values = vec![0_u8; size * cpus * keys.len()];
    let attributes = Batch {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count,
        map: descriptor(data),
        element_flags: 0,
        flags: 0,
    };
    bpf(UPDATE_BATCH, &attributes).unwrap_or_else(|error| panic!("fill {name} with zeros: {error}"));
    0
}

fn without_keys(name: &str, data: &MapData) -> u32 {
    let mut key = vec![0_u8; shape(name, data).0];
    let mut lost = 0;
    while has_key(name, data, &mut key) {
        let found = Element { key: key.as_ptr() as u64, ..Element::of(data) };
        bpf(DELETE_ELEMENT, &found).unwrap_or_else(|error| panic!("delete a key of {name}: {error}"));
        lost += 1;
    }
    lost
}

fn without_maps(name: &str, data: &MapData) -> u32 {
    for index in 0..shape(name, data).2 {
        match bpf(DELETE_ELEMENT, &Element { key: (&raw const index) as u64, ..Element::of(data) }) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            deleted => deleted.unwrap_or_else(|error| panic!("delete a map of {name}: {error}")),
        }
    }
    0
}

impl Element {
    fn of(data: &MapData) -> Self {
        Self { map: descriptor(data), padding: 0, key: 0, value: 0, flags: 0 }
    }
}

fn descriptor(data: &MapData) -> u32 {
    data.fd().as_fd().as_raw_fd().cast_unsigned()
}

fn bpf<A>(command: libc::c_long, attributes: &A) -> io::Result<()> {
    // SAFETY: the attributes are laid out as the kernel has them, and what they point to outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<A>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
