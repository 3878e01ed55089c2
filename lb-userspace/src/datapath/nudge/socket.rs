//! Raw sockets: packets with a source address that this node does not have, sent along its routes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket,
};

use super::model::Nudge;
use super::wire::packet;

/// One socket a family, opened when it is first needed.
#[derive(Default, Debug)]
pub struct Sockets {
    v4: Option<OwnedFd>,
    v6: Option<OwnedFd>,
}

impl Sockets {
    /// Sends a nudge. Nothing waits: what finds no room is lost, as on the way.
    ///
    /// # Errors
    /// When there is no socket, or the node has no route to the client.
    pub fn send(&mut self, nudge: &Nudge) -> io::Result<()> {
        let Some(packet) = packet(nudge) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let family = match nudge.client {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let place = if nudge.client.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        let socket = match place {
            Some(socket) => socket,
            None => place.insert(open(family)?),
        };
        // The port is none of the socket's business, and IPv6 refuses one.
        let sent = match nudge.client {
            SocketAddr::V4(client) => {
                let target = SockaddrIn::from(std::net::SocketAddrV4::new(*client.ip(), 0));
                sendto(socket.as_raw_fd(), &packet, &target, MsgFlags::MSG_DONTWAIT)
            }
            SocketAddr::V6(client) => {
                let target = SockaddrIn6::from(std::net::SocketAddrV6::new(*client.ip(), 0, 0, 0));
                sendto(socket.as_raw_fd(), &packet, &target, MsgFlags::MSG_DONTWAIT)
            }
        };
        sent.map(drop).map_err(io::Error::from)
    }
}

/// With this protocol a socket takes whole packets, and receives none.
fn open(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?)
}
