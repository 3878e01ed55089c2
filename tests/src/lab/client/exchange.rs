//! Datagrams that go out one after the other, each answered before the next: whoever loses one is seen.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::connection::any_port;
use crate::lab::namespace::Namespace;

/// After so long a datagram counts as lost: much more than a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Exchanged {
    /// Sent.
    pub sent: u32,
    /// Of these, not answered.
    pub lost: u32,
}

/// Exchanges datagrams with an echo server for as long as `work` takes, from one socket, and at least one after it.
///
/// # Errors
/// When the socket fails.
///
/// # Panics
/// When `work` does.
pub fn exchange_during<T>(
    client: &Namespace,
    server: SocketAddr,
    work: impl FnOnce() -> T,
) -> Result<(T, Exchanged)> {
    let socket = client.enter(|| UdpSocket::bind(any_port(server)))?.context("bind a socket")?;
    socket.connect(server).context("connect the socket")?;
    socket.set_read_timeout(Some(PATIENCE)).context("set a time-out")?;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let exchanging = scope.spawn(|| {
            let mut exchanged = Exchanged::default();
            loop {
                // Looked at before sending: the last datagram is sent after the end.
                let last = ended.load(Ordering::SeqCst);
                exchanged.sent += 1;
                exchanged.lost += u32::from(!is_answered(&socket, exchanged.sent)?);
                if last {
                    return io::Result::Ok(exchanged);
                }
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        ended.store(true, Ordering::SeqCst);
        let exchanged = exchanging.join().map_err(|_| anyhow!("the exchange panicked"))?;
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((done, exchanged.context("exchange datagrams")?))
    })
}

/// Sends a number and waits until it comes back; answers to earlier ones are too late.
fn is_answered(socket: &UdpSocket, number: u32) -> io::Result<bool> {
    match socket.send(&number.to_be_bytes()) {
        // An ICMP error that an earlier datagram brought about.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(false),
        sent => sent?,
    };
    let mut buffer = [0; 4];
    loop {
        match socket.recv(&mut buffer) {
            Ok(_) if buffer == number.to_be_bytes() => return Ok(true),
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
}
