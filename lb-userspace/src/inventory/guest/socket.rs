//! A guest agent's socket: the emulator's, behind which the guest listens or does not.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::wire::{self, ReadAnswer};
use crate::model::vm::Interface;

/// As many bytes of an answer are read.
const MAX_ANSWER: u64 = 1 << 20;

/// Why a guest does not tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskGuest {
    /// The socket, or what is behind it, is gone.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// It says something else.
    #[error(transparent)]
    Answer(#[from] ReadAnswer),
}

/// A connection. The emulator has one at a time; others wait.
#[derive(Debug)]
pub(super) struct Channel {
    stream: BufReader<UnixStream>,
    last_id: u32,
}

impl Channel {
    /// Connects to the emulator.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(UnixStream::connect(path).await?), last_id: std::process::id() })
    }

    /// What the guest's interfaces are. Waits for as long as the guest is silent; whoever gives up must not use the
    /// channel again.
    pub(super) async fn interfaces(&mut self) -> Result<Vec<Interface>, AskGuest> {
        self.last_id = self.last_id.wrapping_add(1);
        self.stream.write_all(&wire::sync(self.last_id)).await?;
        loop {
            // Answers to somebody who has given up come first.
            self.read_until(wire::DELIMITER).await?;
            if wire::synced(&self.read_until(b'\n').await?).is_ok_and(|id| id == self.last_id) {
                break;
            }
        }
        self.stream.write_all(&wire::interfaces_question()).await?;
        Ok(wire::interfaces(&self.read_until(b'\n').await?)?)
    }

    /// Waits until the emulator closes the connection.
    pub(super) async fn closed(&mut self) {
        while let Ok(unasked) = self.stream.fill_buf().await.map(<[u8]>::len)
            && unasked > 0
        {
            self.stream.consume(unasked);
        }
    }

    async fn read_until(&mut self, end: u8) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.stream).take(MAX_ANSWER).read_until(end, &mut bytes).await?;
        match bytes.pop() {
            Some(last) if last == end => Ok(bytes),
            Some(_) if bytes.len() as u64 + 1 >= MAX_ANSWER => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"))
            }
            Some(_) | None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
