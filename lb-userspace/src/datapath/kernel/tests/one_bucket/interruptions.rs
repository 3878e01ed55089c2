//! Interrupts at random moments: a packet program that is interrupted between two loads reads what others have
//! written meanwhile, which else takes a coincidence of nanoseconds.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::Duration;

/// The beginning of the kernel's `struct perf_event_attr`, as its first version had it.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    others: [u64; 5],
}

const SOFTWARE: u32 = 1;
const CPU_CLOCK: u64 = 0;

/// Interrupts the calling thread whenever it has run for so long, in the kernel or not, until the value is dropped.
pub(super) fn every(period: Duration) -> io::Result<OwnedFd> {
    let size = size_of::<Attributes>();
    let attributes = Attributes {
        kind: SOFTWARE,
        size: size.try_into().map_err(io::Error::other)?,
        config: CPU_CLOCK,
        period: period.as_nanos().try_into().map_err(io::Error::other)?,
        ..Attributes::default()
    };
    let (this_thread, any_cpu, no_group, no_flags) = (0, -1, -1, 0);
    // SAFETY: the attributes are as long as they say, and outlive the call.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            this_thread,
            any_cpu,
            no_group,
            no_flags,
        )
    };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(opened.try_into().map_err(io::Error::other)?) })
}
