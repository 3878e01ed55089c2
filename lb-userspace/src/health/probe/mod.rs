//! One probe: a question to a server, and whether its answer is good.
//!
//! A probe that opens a connection ends it with a reset: the server's queue and the node's ports are free again at
//! once. What servers say is bounded in length and in time.

mod grpc;
mod http;
mod tls;
mod udp;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::failure::ProbeFailed;
use crate::model::check::{CheckedHealthCheck, CheckedTls, ProbeMethod};
use tls::Authorities;

/// What a probe talks through once it is connected.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What all probes share.
#[derive(Clone, Default, Debug)]
pub struct Prober {
    authorities: Authorities,
}

impl Prober {
    /// Asks once.
    ///
    /// # Errors
    /// When there is no good answer within the timeout.
    pub async fn probe(&self, address: SocketAddr, check: &CheckedHealthCheck) -> Result<(), ProbeFailed> {
        let answer = async {
            match &check.method {
                ProbeMethod::Tcp => drop(connect(address, check).await?),
                // Boxed: ten thousand loops that only connect need no room for more.
                ProbeMethod::Http { .. } | ProbeMethod::Udp { .. } | ProbeMethod::Grpc { .. } => {
                    Box::pin(self.ask(address, check)).await?;
                }
            }
            Ok(())
        };
        match timeout(check.timeout, answer).await {
            Ok(result) => result,
            Err(_) if check.method.takes_silence() => Ok(()),
            Err(_) => Err(ProbeFailed::TimedOut(check.timeout)),
        }
    }

    async fn ask(&self, address: SocketAddr, check: &CheckedHealthCheck) -> Result<(), ProbeFailed> {
        match &check.method {
            ProbeMethod::Tcp => Ok(()),
            ProbeMethod::Http { path, host, expected, tls } => {
                let request = http::request(address, path, host.as_ref())?;
                let stream = self.open(address, check, tls.as_ref(), tls::HTTP).await?;
                let status = http::status(stream, request, check.timeout).await?;
                let is_good = expected.iter().any(|range| range.contains(status));
                if is_good { Ok(()) } else { Err(ProbeFailed::Status(status)) }
            }
            ProbeMethod::Udp { payload, expected } => {
                udp::ask(address, payload, expected, check.timeout).await
            }
            ProbeMethod::Grpc { service, tls } => {
                let stream = self.open(address, check, tls.as_ref(), tls::HTTP2).await?;
                grpc::check(stream, address, service, tls.as_ref(), check.timeout).await
            }
        }
    }

    async fn open(
        &self,
        address: SocketAddr,
        check: &CheckedHealthCheck,
        tls: Option<&CheckedTls>,
        protocol: &[u8],
    ) -> Result<Box<dyn Stream>, ProbeFailed> {
        let stream = connect(address, check).await?;
        match tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let stream = tls::handshake(stream, address.ip(), tls, protocol, &self.authorities).await;
                Ok(Box::new(stream.map_err(|error| tls::explain(&error, check.timeout))?))
            }
        }
    }
}

impl ProbeMethod {
    /// Whether no answer is a good answer.
    fn takes_silence(&self) -> bool {
        matches!(self, Self::Udp { expected, .. } if expected.is_empty())
    }
}

async fn connect(address: SocketAddr, check: &CheckedHealthCheck) -> Result<TcpStream, ProbeFailed> {
    let open = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_zero_linger()?;
        socket.connect(address).await
    };
    let stream: io::Result<TcpStream> = open.await;
    stream.map_err(|error| ProbeFailed::of(error.kind(), check.timeout))
}

#[cfg(test)]
mod tests;
