//! Removes this process's labs when it is interrupted, and when it ends: statics are never dropped.

use std::io::{PipeReader, Read as _, pipe};
use std::os::fd::IntoRawFd as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::registry::{self, LabId};

/// The writing end of the pipe to the watching thread; all that a signal's handler may touch.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Whether the process is ending because it was interrupted.
static HAPPENED: AtomicBool = AtomicBool::new(false);

/// The exit status after an interrupt, as shells have it.
const INTERRUPTED: i32 = 130;

/// Sees to the removal, once for this process.
///
/// # Errors
/// When the handlers can't be installed.
pub fn watch() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| install().map_err(|error| format!("{error:#}")));
    installed.clone().map_err(|error| anyhow!(error))
}

fn install() -> Result<()> {
    let (reader, writer) = pipe().context("make a pipe")?;
    WAKE.store(writer.into_raw_fd(), Ordering::Relaxed);
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || wait(reader))
        .context("start a thread")?;
    let action = SigAction::new(SigHandler::Handler(wake), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler calls write(2) alone, which may be called there.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("handle {signal}"))?;
    }
    // SAFETY: the function takes nothing, returns, and outlives the process.
    if unsafe { libc::atexit(at_exit) } != 0 {
        return Err(anyhow!("atexit has no room"));
    }
    Ok(())
}

/// Does not return once the process was interrupted: what fails then fails because its lab is being removed,
/// and the process ends by the interrupt.
pub fn defer_to() {
    while HAPPENED.load(Ordering::Acquire) {
        thread::park();
    }
}

extern "C" fn wake(_: libc::c_int) {
    HAPPENED.store(true, Ordering::Release);
    let writer = WAKE.load(Ordering::Relaxed);
    // SAFETY: the pipe is never closed, and the byte is read before the call returns. A full pipe means that
    // the thread has been woken already.
    unsafe { libc::write(writer, [0_u8].as_ptr().cast(), 1) };
}

fn wait(mut reader: PipeReader) {
    if reader.read_exact(&mut [0]).is_err() {
        return;
    }
    eprintln!("\ninterrupted: removing the lab");
    // Twice: the other threads go on meanwhile, and may start one more process.
    remove_own(2);
    // SAFETY: ends the process at once, without the destructors of labs that are gone.
    unsafe { libc::_exit(INTERRUPTED) };
}

extern "C" fn at_exit() {
    defer_to();
    remove_own(1);
}

fn remove_own(rounds: usize) {
    let removed =
        registry::own().and_then(|own| (0..rounds).try_for_each(|_| own.iter().try_for_each(LabId::remove)));
    if let Err(error) = removed {
        eprintln!("{error:#}; `cargo xtask lab down` tries again");
    }
}
