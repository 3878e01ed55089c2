//! A terminal, and somebody who types at it.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A command that still runs then waits for more than was typed.
const DEADLINE: Duration = Duration::from_mins(1);

/// Runs a command at a terminal of its own and types ahead. Gives whether it succeeded, and what the terminal showed; one
/// that comes to no end is killed.
///
/// # Errors
/// When there is no terminal, or the command can't be started.
pub fn run(command: &mut Command, typed: &str) -> Result<(bool, String)> {
    let ends = openpty(None, None).context("open a terminal")?;
    let (mut user, program) = (File::from(ends.master), File::from(ends.slave));
    let end = || program.try_clone().map(Stdio::from).context("share the terminal");
    let mut child =
        command.stdin(end()?).stdout(end()?).stderr(end()?).spawn().context("start the command")?;
    // The command has ends of the terminal, too: these must go for its last one to be the last.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(program);
    let id = Pid::from_raw(child.id().cast_signed());
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if end.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
            // It may have ended this moment.
            let _ = kill(id, Signal::SIGKILL);
        }
    });
    user.write_all(typed.as_bytes()).context("type")?;
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match user.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => shown.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Linux says so when nobody has the other end any more.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) => return Err(error).context("look at the terminal"),
        }
    }
    drop(ended);
    watch.join().map_err(|_| anyhow!("the deadline's thread panicked"))?;
    let status = child.wait().context("wait for the command")?;
    Ok((status.success(), String::from_utf8_lossy(&shown).replace("\r\n", "\n")))
}
