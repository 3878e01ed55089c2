//! A guest agent's socket: the emulator's, behind which the guest listens or does not.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::wire::{self, ReadAnswer};
use crate::model::vm::Interface;

/// As many bytes are read from one question to the next: a guest's interfaces take a few thousand.
const MAX_BYTES: u64 = 1 << 20;

/// Why a guest does not tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskGuest {
    /// The socket, or what is behind it, is gone.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// It says more than anybody has asked for.
    #[error("it talks without end: {MAX_BYTES} bytes and no answer among them")]
    Endless,
    /// It says something else.
    #[error(transparent)]
    Answer(#[from] ReadAnswer),
}

/// A connection. The emulator has one at a time; others wait.
#[derive(Debug)]
pub(super) struct Channel {
    stream: BufReader<UnixStream>,
    last_id: u32,
    /// As many bytes may yet be read before the next question.
    left: u64,
}

impl Channel {
    /// Connects to the emulator.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let stream = BufReader::new(UnixStream::connect(path).await?);
        Ok(Self { stream, last_id: std::process::id(), left: MAX_BYTES })
    }

    /// What the guest's interfaces are. Waits for as long as the guest is silent; whoever gives up must not use the
    /// channel again.
    pub(super) async fn interfaces(&mut self) -> Result<Vec<Interface>, AskGuest> {
        self.last_id = self.last_id.wrapping_add(1);
        self.left = MAX_BYTES;
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

    /// Waits until there is no sense in asking again: the emulator has closed the connection, or the guest talks
    /// without being asked.
    pub(super) async fn closed(&mut self) -> AskGuest {
        loop {
            match self.stream.fill_buf().await.map(<[u8]>::len) {
                Ok(0) => return closed(),
                Ok(unasked) => {
                    self.stream.consume(unasked);
                    self.left = self.left.saturating_sub(unasked as u64);
                    if self.left == 0 {
                        return AskGuest::Endless;
                    }
                }
                Err(error) => return error.into(),
            }
        }
    }

    async fn read_until(&mut self, end: u8) -> Result<Vec<u8>, AskGuest> {
        let mut bytes = Vec::new();
        let read = (&mut self.stream).take(self.left).read_until(end, &mut bytes).await?;
        self.left = self.left.saturating_sub(read as u64);
        match bytes.pop() {
            Some(last) if last == end => Ok(bytes),
            _ if self.left == 0 => Err(AskGuest::Endless),
            Some(_) | None => Err(closed()),
        }
    }
}

fn closed() -> AskGuest {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}
