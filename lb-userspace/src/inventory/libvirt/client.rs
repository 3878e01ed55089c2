//! A connection to libvirt's daemon.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::wire::{self, Arguments, Domain, Found, Procedure, ReadReply, Source};

/// The hypervisor that is asked for: that of the system, not of a user.
const HYPERVISOR: &str = "qemu:///system";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskLibvirt {
    /// The daemon is not there, or goes.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// It refuses, or says something else.
    #[error(transparent)]
    Reply(#[from] ReadReply),
    /// It asks who this is.
    #[error("it asks for a password or for polkit: run the agent as root, or let its group use the socket")]
    Authentication,
}

/// One connection: a call at a time.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    serial: u32,
}

impl Client {
    /// Connects to the daemon.
    pub(super) async fn open(socket: &Path) -> Result<Self, AskLibvirt> {
        let mut client = Self { stream: UnixStream::connect(socket).await?, serial: 0 };
        let reply = client.call(Procedure::Authentication, Arguments::default()).await?;
        let (count, first) = {
            let mut reader = client.reader(&reply, Procedure::Authentication)?;
            (reader.number()?, reader.number().unwrap_or_default())
        };
        // None at all, or the way called none.
        if count > 0 && first != 0 {
            return Err(AskLibvirt::Authentication);
        }
        client.call(Procedure::Open, Arguments::default().number(1).text(HYPERVISOR).number(0)).await?;
        Ok(client)
    }

    /// All domains, running or not.
    pub(super) async fn domains(&mut self) -> Result<Vec<Domain>, AskLibvirt> {
        let reply = self.call(Procedure::Domains, Arguments::default().number(1).number(0)).await?;
        Ok(self.reader(&reply, Procedure::Domains)?.domains()?)
    }

    /// The definition of a domain.
    pub(super) async fn xml(&mut self, domain: &Domain) -> Result<String, AskLibvirt> {
        let reply = self.call(Procedure::Xml, Arguments::default().domain(domain).number(0)).await?;
        Ok(self.reader(&reply, Procedure::Xml)?.text()?)
    }

    /// Whether its CPUs run: a domain that is paused serves nobody.
    pub(super) async fn is_running(&mut self, domain: &Domain) -> Result<bool, AskLibvirt> {
        /// VIR_DOMAIN_RUNNING and VIR_DOMAIN_BLOCKED, which waits for its disk.
        const RUNNING: [u32; 2] = [1, 2];
        let reply = self.call(Procedure::State, Arguments::default().domain(domain).number(0)).await?;
        Ok(RUNNING.contains(&self.reader(&reply, Procedure::State)?.number()?))
    }

    /// The addresses of a domain that runs.
    pub(super) async fn addresses(
        &mut self,
        domain: &Domain,
        source: Source,
    ) -> Result<Vec<Found>, AskLibvirt> {
        let arguments = Arguments::default().domain(domain).number(source as u32).number(0);
        let reply = self.call(Procedure::Addresses, arguments).await?;
        Ok(self.reader(&reply, Procedure::Addresses)?.interfaces()?)
    }

    /// The message that replies to a call.
    async fn call(&mut self, procedure: Procedure, arguments: Arguments) -> Result<Vec<u8>, AskLibvirt> {
        self.serial = self.serial.wrapping_add(1);
        self.stream.write_all(&wire::call(procedure, self.serial, &arguments)).await?;
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await?;
            let length = wire::length(length).ok_or(ReadReply::Shape)?;
            let mut message = vec![0; length - length.min(size_of::<u32>())];
            self.stream.read_exact(&mut message).await?;
            if wire::reply(&message, procedure, self.serial)?.is_some() {
                return Ok(message);
            }
        }
    }

    fn reader<'a>(&self, message: &'a [u8], procedure: Procedure) -> Result<wire::Reader<'a>, ReadReply> {
        wire::reply(message, procedure, self.serial)?.ok_or(ReadReply::Shape)
    }
}
