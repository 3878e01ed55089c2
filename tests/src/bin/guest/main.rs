//! The first process of an emulated machine: makes it usable, tells its story, and switches it off.

mod balance;

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::panic;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use lb_tests::bench::emulated::inside;
use lb_tests::machine::image::MODULES;
use lb_tests::machine::kernel::files;
use lb_tests::machine::story::Story;
use lb_tests::machine::transcript::{conclude, say};
use nix::mount::{MsFlags, mount};

/// What to mount where.
const MOUNTS: [(&str, &str); 6] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
];

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("this is the first process of a machine that `cargo test --test kernels` boots");
        return ExitCode::FAILURE;
    }
    let told = panic::catch_unwind(|| furnish().and_then(|()| tell()));
    conclude(match told {
        Ok(told) => told.map_err(|error| format!("{error:#}")),
        Err(_) => Err("it panicked".to_owned()),
    });
    // SAFETY: a system call without pointers; nothing on this machine is to be kept.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
    ExitCode::FAILURE
}

fn tell() -> Result<()> {
    match Story::asked_for()? {
        Story::Balance => balance::tell(),
        Story::Count => inside::count(),
        Story::Carry => inside::carry(),
    }
}

/// Mounts what a system has, and loads the modules.
fn furnish() -> Result<()> {
    for (kind, target) in MOUNTS {
        mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount {kind} on {target}"))?;
    }
    say("kernel", fs::read_to_string("/proc/sys/kernel/osrelease").context("read the release")?.trim());
    for module in files(Path::new(MODULES))? {
        load(&module).with_context(|| format!("load {}", module.display()))?;
    }
    Ok(())
}

/// Has the kernel load a module, which it decompresses itself.
fn load(module: &Path) -> Result<()> {
    const COMPRESSED: libc::c_int = 4;
    let file = File::open(module).context("open it")?;
    let flags = if module.extension().is_some_and(|extension| extension == "ko") { 0 } else { COMPRESSED };
    let nothing = CString::default();
    // SAFETY: the file is open and the text alive during the call.
    let status = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), nothing.as_ptr(), flags) };
    ensure!(status == 0, io::Error::last_os_error());
    Ok(())
}
