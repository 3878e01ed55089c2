//! A program that passes everything, on the far end of a veth: native `XDP_TX` from the near end is dropped
//! without one.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::namespace::Namespace;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 4;

/// `r0 = XDP_PASS; exit`, as the kernel's eight-byte instructions.
const PROGRAM: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// The beginning of the kernel's `bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
}

/// The beginning of `bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct Link {
    program: i32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The beginning of `bpf_attr` for `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    path: u64,
    object: i32,
    flags: u32,
}

/// Attaches it in native mode and pins the link in `pins`, so that it outlives this process.
///
/// # Errors
/// When there is no such interface, or something is attached already.
pub fn attach(namespace: &Namespace, interface: &str, pins: &Path) -> Result<()> {
    fs::create_dir_all(pins).with_context(|| format!("create {}", pins.display()))?;
    let pin = pins.join(format!("{}-{interface}", namespace.name()));
    let ifindex =
        namespace.enter(|| nix::net::if_::if_nametoindex(interface))?.context("look up the interface")?;
    let license = c"GPL";
    let program = bpf(
        BPF_PROG_LOAD,
        &Load {
            program_type: BPF_PROG_TYPE_XDP,
            instructions: 2,
            code: PROGRAM.as_ptr() as u64,
            license: license.as_ptr() as u64,
        },
    )
    .context("load the passing program")?;
    let link =
        Link { program: program.as_raw_fd(), ifindex, attach_type: BPF_XDP, flags: XDP_FLAGS_DRV_MODE };
    // The kernel looks the interface up in the caller's namespace.
    let link =
        namespace.enter(|| bpf(BPF_LINK_CREATE, &link))?.with_context(|| format!("attach to {interface}"))?;
    let path = CString::new(pin.as_os_str().as_bytes()).context("a path without zero bytes")?;
    let request = Pin { path: path.as_ptr() as u64, object: link.as_raw_fd(), flags: 0 };
    check(call(BPF_OBJ_PIN, &request)).with_context(|| format!("pin {}", pin.display()))?;
    Ok(())
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let descriptor = check(call(command, attributes))?;
    // SAFETY: the call has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call<T>(command: libc::c_long, attributes: &T) -> libc::c_long {
    // SAFETY: the kernel reads `size` bytes of the attributes, and the memory that they point to, during the
    // call only; the callers keep both alive.
    unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) }
}

fn check(result: libc::c_long) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}
