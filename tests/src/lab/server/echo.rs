//! A server that says whose it is and then echoes: for connections that stay open, and for payloads of any
//! size.
//!
//! TCP: a line with the VM's name, then what it receives. UDP: each datagram as it came.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::namespace::Namespace;

/// The port of the servers, TCP and UDP.
pub const PORT: u16 = 7;

/// The stack of a connection's thread, in bytes: it holds one buffer.
const STACK: usize = 96 * 1024;

/// How often the UDP server looks whether it shall end.
const TICK: Duration = Duration::from_millis(200);

/// A running server; drop stops it listening. Open connections end with their clients.
#[derive(Debug)]
pub struct Echo {
    listener: Arc<TcpListener>,
    /// The UDP server ends when this is gone.
    alive: Arc<()>,
}

impl Echo {
    /// Starts it on threads of this process.
    ///
    /// # Errors
    /// When the ports are taken.
    pub fn start(vm: &Namespace, name: &str) -> Result<Self> {
        // Such sockets take IPv4 as well.
        let any = Ipv6Addr::UNSPECIFIED;
        let sockets =
            vm.enter(|| io::Result::Ok((TcpListener::bind((any, PORT))?, UdpSocket::bind((any, PORT))?)))?;
        let (listener, datagrams) = sockets.with_context(|| format!("bind port {PORT} in {name}"))?;
        let listener = Arc::new(listener);
        let greeting: Arc<str> = format!("{name}\n").into();
        let accepting = Arc::clone(&listener);
        spawn(move || accept(&accepting, &greeting))?;
        let alive = Arc::new(());
        let guard = Arc::downgrade(&alive);
        datagrams.set_read_timeout(Some(TICK)).context("set a time-out")?;
        spawn(move || {
            let mut buffer = vec![0; 65_536];
            while guard.strong_count() > 0 {
                if let Ok((length, client)) = datagrams.recv_from(&mut buffer) {
                    // A client that is gone is no matter of the server.
                    drop(datagrams.send_to(&buffer[..length], client));
                }
            }
        })?;
        Ok(Self { listener, alive })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        debug_assert_eq!(Arc::strong_count(&self.alive), 1);
        // SAFETY: the descriptor is open as long as `self.listener` lives. This wakes the accepting thread.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

fn accept(listener: &TcpListener, greeting: &Arc<str>) {
    while let Ok((stream, _)) = listener.accept() {
        let greeting = Arc::clone(greeting);
        // Without memory for one more thread, the connection closes and its client notices.
        drop(spawn(move || drop(echo(stream, &greeting))));
    }
}

fn echo(mut stream: TcpStream, greeting: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(greeting.as_bytes())?;
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return stream.shutdown(Shutdown::Both);
        }
        stream.write_all(&buffer[..length])?;
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let builder = thread::Builder::new().name("echo".to_owned()).stack_size(STACK);
    builder.spawn(work).context("start a thread")?;
    Ok(())
}
