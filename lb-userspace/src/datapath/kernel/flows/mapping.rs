//! Arrays, the flow tables among them, mapped into this process.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;
use aya::maps::MapData;

/// The words of a mmapable array map, shared with the packet programs.
pub(in crate::datapath::kernel) struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is shared with other CPUs in any case; it is touched through atomics alone, and unmapped
// by the last owner.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a whole array whose values are a multiple of eight bytes long.
    pub(in crate::datapath::kernel) fn new(map: &MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        if !info.value_size().is_multiple_of(8) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let bytes = info.value_size() as usize * info.max_entries() as usize;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let map = map.fd().as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, map, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { start, words: bytes / 8 })
    }

    /// Its elements, each word as it is now. `V` has the map's value size.
    pub(in crate::datapath::kernel) fn values<V: Pod>(&self) -> impl Iterator<Item = V> {
        const { assert!(size_of::<V>() > 0 && size_of::<V>().is_multiple_of(8)) };
        self.words().chunks_exact(size_of::<V>() / 8).map(|words| {
            // SAFETY: a `Pod` may hold any bit pattern, also zero.
            let mut value: V = unsafe { std::mem::zeroed() };
            let start = (&raw mut value).cast::<u64>();
            for (index, word) in words.iter().enumerate() {
                // SAFETY: the value is as long as the words.
                let place = unsafe { start.add(index) };
                // SAFETY: as above; any bits are a `Pod`.
                unsafe { place.write_unaligned(word.load(Ordering::Relaxed)) };
            }
            value
        })
    }

    /// All of it.
    pub(in crate::datapath::kernel) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins at a page, is as long, and lives as long as `self`; any bit pattern is a
        // word, and whoever else writes does so in whole words or in parts that are read as they come.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and borrowed by nobody any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}
