//! Ctrl-Z, which is heard before it is followed: a terminal can be given back in between.

use std::io;

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Wishes to stop, which from now on stop nothing by themselves.
#[derive(Debug)]
pub(super) struct Stops(AsyncFd<SignalFd>);

impl Stops {
    /// Holds them back in this thread, which must be the only one.
    pub(super) fn begin() -> io::Result<Self> {
        wish().thread_block()?;
        let wishes = SignalFd::with_flags(&wish(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        #[expect(deprecated, reason = "its successor is unsafe; a SignalFd keeps its descriptor for life")]
        AsyncFd::with_interest(wishes, Interest::READABLE).map(Self)
    }

    /// Waits for the next one.
    pub(super) async fn wished(&self) -> io::Result<()> {
        let read = |wishes: &SignalFd| match wishes.read_signal()? {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        };
        self.0.async_io(Interest::READABLE, read).await
    }

    /// Stops until somebody lets the process go on. The kernel knows whether there is a shell that can: without one
    /// nothing happens.
    #[expect(clippy::unused_self, reason = "only where wishes are held back")]
    pub(super) fn stop(&self) -> io::Result<()> {
        wish().thread_unblock()?;
        raise(Signal::SIGTSTP)?;
        wish().thread_block()?;
        Ok(())
    }
}

fn wish() -> SigSet {
    SigSet::from(Signal::SIGTSTP)
}
