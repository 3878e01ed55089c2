//! A datagram and its answer. ICMP port unreachable reaches a connected socket as an error.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::health::failure::ProbeFailed;

/// As many bytes of an answer are looked at.
const MAX_ANSWER: usize = 4096;

/// Sends the payload, and waits for an answer that contains what is expected, or for any if nothing is. Whoever
/// takes silence for an answer puts an end to it.
pub(super) async fn ask(
    address: SocketAddr,
    payload: &[u8],
    expected: &[u8],
    within: Duration,
) -> Result<(), ProbeFailed> {
    let answer = async {
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(address).await?;
        socket.send(payload).await?;
        let mut answer = vec![0; MAX_ANSWER];
        let length = socket.recv(&mut answer).await?;
        answer.truncate(length);
        Ok(answer)
    };
    let answer: io::Result<Vec<u8>> = answer.await;
    match answer.map_err(|error| error.kind()) {
        Ok(answer) if contains(&answer, expected) => Ok(()),
        Ok(_) => Err(ProbeFailed::OtherAnswer),
        Err(io::ErrorKind::ConnectionRefused) => Err(ProbeFailed::PortUnreachable),
        Err(kind) => Err(ProbeFailed::of(kind, within)),
    }
}

fn contains(answer: &[u8], expected: &[u8]) -> bool {
    expected.is_empty() || answer.windows(expected.len()).any(|part| part == expected)
}
