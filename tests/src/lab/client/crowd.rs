//! Thousands of connections, held open by one thread.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::connection::Connection;
use crate::lab::namespace::Namespace;

/// Connections by the name of the VM at their other end.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Never empty lists.
    pub by_vm: BTreeMap<String, Vec<TcpStream>>,
}

impl Crowd {
    /// Opens `count` connections.
    ///
    /// # Errors
    /// When one can't be opened.
    pub fn open(client: &Namespace, server: SocketAddr, count: usize) -> Result<Self> {
        client.enter(|| {
            let mut crowd = Self::default();
            for index in 0..count {
                let connection = Connection::open(server)
                    .with_context(|| format!("open connection {index} of {count} to {server}"))?;
                let (vm, stream) = connection.into_parts();
                crowd.by_vm.entry(vm).or_default().push(stream);
            }
            Ok(crowd)
        })?
    }

    /// Sends a message along each connection and expects it back.
    ///
    /// # Errors
    /// Names how many connections of which VM are broken.
    pub fn converse(&mut self) -> Result<()> {
        let mut broken = BTreeMap::<&str, (usize, String)>::new();
        for (vm, streams) in &mut self.by_vm {
            for stream in streams {
                if let Err(error) = exchange(stream) {
                    let (count, _) = broken.entry(vm).or_insert_with(|| (0, error.to_string()));
                    *count += 1;
                }
            }
        }
        if broken.is_empty() { Ok(()) } else { bail!("broken connections, with the first error: {broken:?}") }
    }

    /// Waits, without a word, until the peer has reset each of these connections. Gives when that was, in order.
    ///
    /// # Errors
    /// When some are not reset in time, or end otherwise.
    pub fn resets(streams: Vec<TcpStream>, patience: Duration) -> Result<Vec<Instant>> {
        let deadline = Instant::now() + patience;
        let (mut resets, mut waiting) = (Vec::new(), streams);
        for stream in &waiting {
            stream.set_nonblocking(true).context("set a socket")?;
        }
        while !waiting.is_empty() {
            let mut open = Vec::new();
            for stream in waiting {
                match stream.peek(&mut [0]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => open.push(stream),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                        resets.push(Instant::now())
                    }
                    other => bail!("neither open nor reset: {other:?}"),
                }
            }
            waiting = open;
            if Instant::now() > deadline && !waiting.is_empty() {
                bail!("{} of {} connections are still open", waiting.len(), waiting.len() + resets.len());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(resets)
    }
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    const MESSAGE: &[u8] = b"still there?";
    stream.write_all(MESSAGE)?;
    let mut back = [0; MESSAGE.len()];
    stream.read_exact(&mut back)?;
    if back == MESSAGE { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
