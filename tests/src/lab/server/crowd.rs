//! A server for thousands of connections: it says whose it is and then echoes small messages, on one thread.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::lab::namespace::Namespace;

/// The port of the servers.
pub const PORT: u16 = 9;

/// A running server; drop ends it and its connections.
#[derive(Debug)]
pub struct Crowd {
    listener: Arc<TcpListener>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Starts it on a thread of this process.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(vm: &Namespace, name: &str) -> Result<Self> {
        let listener = vm.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
        let listener = Arc::new(listener.with_context(|| format!("bind port {PORT} in {name}"))?);
        listener.set_nonblocking(true).context("set the socket")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, stopped, greeting) = (Arc::clone(&listener), Arc::clone(&stop), format!("{name}\n"));
        let thread = thread::Builder::new().name(format!("crowd {name}")).spawn(move || {
            if let Err(error) = serve(&theirs, &stopped, &greeting) {
                eprintln!("the server ended: {error}");
            }
        });
        Ok(Self { listener, stop, thread: Some(thread.context("start a thread")?) })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // SAFETY: the descriptor is open as long as `self.listener` lives. This wakes the thread.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(listener: &TcpListener, stop: &AtomicBool, greeting: &str) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    poll.add(listener.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut streams = BTreeMap::new();
    let mut events = vec![EpollEvent::empty(); 256];
    while !stop.load(Ordering::Relaxed) {
        let count = match poll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => 0,
            count => count?,
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    let number = u64::from(stream.as_raw_fd().cast_unsigned());
                    // A client that is gone already shows with its first event.
                    drop(stream.write_all(greeting.as_bytes()));
                    poll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))?;
                    streams.insert(number, stream);
                }
            } else if streams.get_mut(&event.data()).is_some_and(|stream| !echo(stream)) {
                // Closed with it, it leaves the poll.
                streams.remove(&event.data());
            }
        }
    }
    Ok(())
}

/// False: the connection is over.
fn echo(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => stream.write_all(&buffer[..length]).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
