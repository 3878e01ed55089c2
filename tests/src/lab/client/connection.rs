//! Connections to the echo servers, held open.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::http::PATIENCE;
use crate::lab::namespace::Namespace;

/// A connection, and who is at its other end.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// The name of the VM.
    pub vm: String,
}

impl Connection {
    /// Opens one and reads the greeting. To be called inside a namespace.
    ///
    /// # Errors
    /// When there is no connection or no greeting.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut greeting = String::new();
        // One byte ahead at most: the server says nothing more before it is spoken to.
        BufReader::with_capacity(64, &stream).read_line(&mut greeting)?;
        if greeting.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { stream, vm: greeting.trim().to_owned() })
    }

    /// The name of the VM, and the socket.
    pub fn into_parts(self) -> (String, TcpStream) {
        (self.vm, self.stream)
    }

    /// Lets answers take longer.
    ///
    /// # Errors
    /// When the socket refuses.
    pub fn be_patient(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// Sends bytes and reads them back.
    ///
    /// # Errors
    /// When the connection breaks, stalls, or brings back something else.
    pub fn echo(&mut self, payload: &[u8]) -> Result<()> {
        let mut writer = self.stream.try_clone().context("clone the socket")?;
        let mut back = vec![0; payload.len()];
        let read = std::thread::scope(|scope| {
            let writing = (payload.len() > 64 * 1024).then(|| scope.spawn(|| writer.write_all(payload)));
            if writing.is_none() {
                self.stream.write_all(payload)?;
            }
            self.stream.read_exact(&mut back)
        });
        read.with_context(|| format!("echo {} bytes with {}", payload.len(), self.vm))?;
        ensure!(back == payload, "{} of {} bytes differ", differing(&back, payload), payload.len());
        Ok(())
    }
}

/// Opens `count` connections.
///
/// # Errors
/// When one can't be opened.
pub fn open_many(client: &Namespace, server: SocketAddr, count: usize) -> Result<Vec<Connection>> {
    client.enter(|| {
        (0..count)
            .map(|index| {
                Connection::open(server).with_context(|| format!("open connection {index} to {server}"))
            })
            .collect()
    })?
}

/// Sends a datagram and checks the echo, thrice at most: datagrams may be lost, but not changed.
///
/// # Errors
/// When no echo comes, or another one.
pub fn echo_datagram(client: &Namespace, server: SocketAddr, payload: &[u8]) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let exchange = || -> io::Result<Vec<u8>> {
        let socket = UdpSocket::bind(any_port(server))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(payload)?;
        let mut back = vec![0; 65_536];
        let length = socket.recv(&mut back)?;
        back.truncate(length);
        Ok(back)
    };
    let answer = client.enter(|| exchange().or_else(|_| exchange()).or_else(|_| exchange()))?;
    let back = answer.with_context(|| format!("echo {} bytes with {server} by UDP", payload.len()))?;
    ensure!(back == payload, "{} of {} bytes differ", differing(&back, payload), payload.len());
    Ok(())
}

/// Any address and port of the family of `server`.
pub fn any_port(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Bytes that repeat nowhere near, so that a shifted or swapped piece shows.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()[0]
        })
        .collect()
}

fn differing(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).filter(|(a, b)| a != b).count() + one.len().abs_diff(other.len())
}
