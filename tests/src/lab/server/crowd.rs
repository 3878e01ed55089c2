//! A server for thousands of connections: it says whose it is and then echoes small messages, on one thread of a
//! process of its own, as a process may have so many descriptors and no more.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::http::is_listening;
use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait;

/// The port of the servers.
pub const PORT: u16 = 9;

/// Starts `program`, which [`serve`]s, in a VM and waits until it listens.
///
/// # Errors
/// When it does not come up.
pub fn start(program: &str, vm: &Namespace, name: &str, directory: &Path) -> Result<Process> {
    let process = Process::start(vm.command(program).arg(name), directory.join(format!("crowd-{name}.log")))?;
    wait::until(&format!("the server of {name} listens"), Duration::from_secs(30), || is_listening(vm, PORT))
        .with_context(|| process.log())?;
    Ok(process)
}

/// Serves until the process ends.
///
/// # Errors
/// When the port is taken.
pub fn serve(name: &str) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    let (listener, greeting) = (TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?, format!("{name}\n"));
    listener.set_nonblocking(true)?;
    let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    poll.add(listener.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut streams = BTreeMap::new();
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
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
