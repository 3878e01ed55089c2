//! Requests, each on a connection of its own.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use crate::lab::namespace::Namespace;

/// How long one request may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for `/` and returns the answer's body: the name of the VM that answered. To be called inside a
/// namespace.
///
/// # Errors
/// When there is no connection, no answer, or another status than 200.
pub fn ask(server: SocketAddr, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.trim().to_owned()),
        _ => Err(io::Error::other(format!("not an answer: {text:?}"))),
    }
}

/// How many requests each VM answered, and why others were not.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// By name of the VM.
    pub answers: BTreeMap<String, u32>,
    /// Why requests failed.
    pub failures: Vec<String>,
}

impl Tally {
    /// Asserts that nothing failed.
    ///
    /// # Panics
    /// When something did.
    pub fn answers(self) -> BTreeMap<String, u32> {
        assert!(self.failures.is_empty(), "{} requests failed: {:?}", self.failures.len(), self.failures);
        self.answers
    }

    pub(super) fn count(&mut self, outcome: io::Result<String>) {
        match outcome {
            Ok(name) => *self.answers.entry(name).or_default() += 1,
            Err(error) => self.failures.push(error.to_string()),
        }
    }
}

/// Asks `count` times, one request after the other.
///
/// # Errors
/// When the namespace can't be entered; failed requests are counted.
pub fn ask_often(client: &Namespace, server: SocketAddr, count: u32) -> Result<Tally> {
    ask_patiently(client, server, count, PATIENCE)
}

/// Asks `count` times, one request after the other, each for `patience` at most; the first failure is the
/// last request, so that a dead server costs no more than that.
///
/// # Errors
/// When the namespace can't be entered; failed requests are counted.
pub fn ask_patiently(
    client: &Namespace,
    server: SocketAddr,
    count: u32,
    patience: Duration,
) -> Result<Tally> {
    client.enter(|| {
        let mut tally = Tally::default();
        for _ in 0..count {
            tally.count(ask(server, patience));
            if !tally.failures.is_empty() {
                break;
            }
        }
        tally
    })
}
