//! What aya has no call for: whole arrays in one system call, maps as elements of a map, and links that let go
//! at once.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Pod;
use aya::maps::MapData;
use aya_obj::generated::{bpf_attr, bpf_cmd};

/// The kernel's own ENOTSUPP, which a map gives that has no batches; libc does not name it.
const NOT_SUPPORTED: i32 = 524;

/// Elements a call: enough to make the call cheap, few enough to keep the copies small.
const CHUNK: u32 = 4096;

/// The id of the map or program at an index of an array of such; `None` where there is none.
pub(super) fn id_at(array: &MapData, index: u32) -> io::Result<Option<u32>> {
    let mut id = 0_u32;
    match element(bpf_cmd::BPF_MAP_LOOKUP_ELEM, array, index, Some(&mut id)) {
        Ok(()) => Ok(Some(id)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts maps at indices of an array of maps, in place of those that are there. The kernel waits for packets that
/// look at these: once for all, before Linux 6.8 once for each. Before Linux 5.19 they can only be put one by one.
pub(super) fn set_inner_maps(outer: &MapData, inner: &[(u32, MapData)]) -> io::Result<()> {
    let mut keys: Vec<u32> = inner.iter().map(|(index, _)| *index).collect();
    let descriptor = |(_, map): &(u32, MapData)| map.fd().as_fd().as_raw_fd().cast_unsigned();
    let mut values: Vec<u32> = inner.iter().map(descriptor).collect();
    let count = u32::try_from(keys.len()).map_err(io::Error::other)?;
    match (Batch { map: outer, keys: &mut keys, values: &mut values, count }).update() {
        Err(error) if error.raw_os_error() == Some(NOT_SUPPORTED) => set_one_by_one(outer, inner),
        answer => answer,
    }
}

/// [`set_inner_maps`] where the kernel has no batches of maps.
pub(super) fn set_one_by_one(outer: &MapData, inner: &[(u32, MapData)]) -> io::Result<()> {
    inner.iter().try_for_each(|(index, map)| {
        let mut descriptor = map.fd().as_fd().as_raw_fd().cast_unsigned();
        element(bpf_cmd::BPF_MAP_UPDATE_ELEM, outer, *index, Some(&mut descriptor))
    })
}

/// Empties an index of an array of maps.
pub(super) fn remove_inner_map(outer: &MapData, index: u32) -> io::Result<()> {
    match element(bpf_cmd::BPF_MAP_DELETE_ELEM, outer, index, None) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer.map(drop),
    }
}

fn element(command: bpf_cmd, outer: &MapData, index: u32, value: Option<&mut u32>) -> io::Result<()> {
    let mut attributes = zeroed();
    // SAFETY: the whole union was zeroed, so each of its members may be borrowed.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = outer.fd().as_fd().as_raw_fd().cast_unsigned();
    element.key = &raw const index as u64;
    element.__bindgen_anon_1.value = value.map_or(0, |value| &raw mut *value as u64);
    // SAFETY: an array of maps or programs has keys and values of four bytes; both outlive the call.
    unsafe { call(command, &mut attributes) }.map(drop)
}

/// Reads all elements of an array. `V` has the map's value size, a multiple of eight bytes.
pub(super) fn read<V: Pod>(map: &MapData) -> io::Result<Vec<V>> {
    let info = map.info().map_err(io::Error::other)?;
    check_value::<V>(info.value_size())?;
    let mut values = Vec::with_capacity(info.max_entries() as usize);
    read_chunks(map, info.max_entries(), |chunk: &[V]| values.extend_from_slice(chunk))?;
    Ok(values)
}

fn read_chunks<V: Pod>(map: &MapData, entries: u32, mut visitor: impl FnMut(&[V])) -> io::Result<()> {
    let size = CHUNK.min(entries);
    let mut keys = vec![0_u32; size as usize];
    // SAFETY: a `Pod` may hold any bit pattern, also zero.
    let nothing: V = unsafe { std::mem::zeroed() };
    let mut values = vec![nothing; size as usize];
    let mut position = 0_u32;
    let mut seen = 0;
    while seen < entries {
        let mut batch = Batch { map, keys: &mut keys, values: &mut values, count: size };
        let first = seen == 0;
        let ended = match batch.lookup(&mut position, first) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let read = batch.count;
        visitor(values.get(..read as usize).unwrap_or_default());
        seen += read;
        if ended || read == 0 {
            break;
        }
    }
    Ok(())
}

/// Visits the elements of a hash. Elements that come or go meanwhile are visited or not. `K` and `V` have the
/// map's key and value size.
pub(super) fn visit_hash<K: Pod, V: Pod>(map: &MapData, mut visitor: impl FnMut(&K, &V)) -> io::Result<()> {
    let info = map.info().map_err(io::Error::other)?;
    if size_of::<K>() != info.key_size() as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    check_value::<V>(info.value_size())?;
    let size = CHUNK.min(info.max_entries());
    // SAFETY: a `Pod` may hold any bit pattern, also zero.
    let (mut keys, mut values) = (vec![unsafe { std::mem::zeroed::<K>() }; size as usize], Vec::new());
    // SAFETY: as above.
    values.resize(size as usize, unsafe { std::mem::zeroed::<V>() });
    let mut position = 0_u32;
    for first in std::iter::once(true).chain(std::iter::repeat(false)) {
        let mut batch = Batch { map, keys: &mut keys, values: &mut values, count: size };
        let ended = match batch.lookup(&mut position, first) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let read = batch.count as usize;
        keys.iter().zip(&values).take(read).for_each(|(key, value)| visitor(key, value));
        if ended {
            break;
        }
    }
    Ok(())
}

/// Removes an element from a hash, if it is there. `K` has the map's key size.
pub(super) fn remove<K: Pod>(map: &MapData, key: &K) -> io::Result<()> {
    let info = map.info().map_err(io::Error::other)?;
    if size_of::<K>() != info.key_size() as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut attributes = zeroed();
    // SAFETY: the whole union was zeroed, so each of its members may be borrowed.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = map.fd().as_fd().as_raw_fd().cast_unsigned();
    element.key = std::ptr::from_ref(key) as u64;
    // SAFETY: the key has the map's key size and outlives the call.
    match unsafe { call(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attributes) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer.map(drop),
    }
}

/// Writes the first elements of an array.
pub(super) fn write<V: Pod>(map: &MapData, values: &mut [V]) -> io::Result<()> {
    let info = map.info().map_err(io::Error::other)?;
    check_value::<V>(info.value_size())?;
    let count = u32::try_from(values.len()).map_err(io::Error::other)?;
    if count > info.max_entries() {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut keys: Vec<u32> = (0..count).collect();
    Batch { map, keys: &mut keys, values, count }.update()
}

fn check_value<V>(value_size: u32) -> io::Result<()> {
    if size_of::<V>() == value_size as usize && value_size.is_multiple_of(8) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}

/// Keys and values of as many elements; `count` says how many, before and after a call.
struct Batch<'a, K, V> {
    map: &'a MapData,
    keys: &'a mut [K],
    values: &'a mut [V],
    count: u32,
}

impl<K: Pod, V: Pod> Batch<'_, K, V> {
    fn lookup(&mut self, position: &mut u32, first: bool) -> io::Result<()> {
        let next: *mut u32 = position;
        let from = if first { 0 } else { next as u64 };
        self.batch(bpf_cmd::BPF_MAP_LOOKUP_BATCH, from, next as u64)
    }

    fn update(&mut self) -> io::Result<()> {
        self.batch(bpf_cmd::BPF_MAP_UPDATE_BATCH, 0, 0)
    }

    fn batch(&mut self, command: bpf_cmd, in_batch: u64, out_batch: u64) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let mut attributes = zeroed();
        // SAFETY: the whole union was zeroed, so each of its members may be borrowed.
        let batch = unsafe { &mut attributes.batch };
        batch.in_batch = in_batch;
        batch.out_batch = out_batch;
        batch.keys = self.keys.as_mut_ptr() as u64;
        batch.values = self.values.as_mut_ptr() as u64;
        batch.count = self.count;
        batch.map_fd = self.map.fd().as_fd().as_raw_fd().cast_unsigned();

        // SAFETY: keys and values have room for `count` elements of the map's key and value size (callers
        // checked), `in_batch` and `out_batch` are null or point to a u32, and all outlive the call.
        let answer = unsafe { call(command, &mut attributes) };
        // SAFETY: the kernel leaves the union's batch member initialised.
        self.count = unsafe { attributes.batch.count };
        answer.map(drop)
    }
}

/// Opens what is pinned at a path.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = zeroed();
    // SAFETY: the whole union was zeroed, so each of its members may be borrowed.
    let object = unsafe { &mut attributes.__bindgen_anon_4 };
    object.pathname = path.as_ptr() as u64;
    // SAFETY: the path ends with a zero and outlives the call.
    let descriptor = unsafe { call(bpf_cmd::BPF_OBJ_GET, &mut attributes) }?;
    // SAFETY: the kernel has just opened it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Detaches a pinned link before this returns. Removing its pin only says that nobody wants it any more: the
/// kernel lets go of it when it has time.
pub(super) fn detach_link(pin: &Path) -> io::Result<()> {
    let link = open_pin(pin)?;
    let mut attributes = zeroed();
    // SAFETY: the whole union was zeroed, so each of its members may be borrowed.
    let detach = unsafe { &mut attributes.link_detach };
    detach.link_fd = link.as_raw_fd().cast_unsigned();
    // SAFETY: nothing in the attributes points anywhere.
    unsafe { call(bpf_cmd::BPF_LINK_DETACH, &mut attributes) }.map(drop)
}

/// Lets a link run another program, in one step.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = zeroed();
    // SAFETY: the whole union was zeroed, so each of its members may be borrowed.
    let update = unsafe { &mut attributes.link_update };
    update.link_fd = link.as_raw_fd().cast_unsigned();
    update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd().cast_unsigned();
    // SAFETY: nothing in the attributes points anywhere.
    unsafe { call(bpf_cmd::BPF_LINK_UPDATE, &mut attributes) }.map(drop)
}

/// The cookie of the network namespace that a socket is in: Linux 5.14.
pub(super) fn network_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    let value = (&raw mut cookie).cast();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_NETNS_COOKIE);
    // SAFETY: the value has room for `length` bytes, and both outlive the call.
    let answer = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, value, &raw mut length) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}

fn zeroed() -> bpf_attr {
    // SAFETY: all of the union is plain integers, and zero is what unused fields must hold.
    unsafe { std::mem::zeroed() }
}

/// Gives the kernel's answer, which is a file descriptor where the command opens something.
///
/// # Safety
/// All that `attributes` point to must be as the command wants it.
pub(super) unsafe fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<i32> {
    let pointer: *mut bpf_attr = attributes;
    // SAFETY: the size is that of what the pointer points to; the rest is the caller's word.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<bpf_attr>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(answer).map_err(io::Error::other)
}
