//! A packet socket that hears nothing.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket};

use crate::ipam::dhcp::socket::address;

/// Opened when it is first needed.
#[derive(Default, Debug)]
pub(super) struct Socket(Option<OwnedFd>);

impl Socket {
    /// Sends frames from an interface. Nothing waits: what finds no room is lost, as on the way.
    ///
    /// # Errors
    /// When there is no socket, or no such interface, or it is down.
    pub(super) fn send(&mut self, ifindex: u32, frames: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
        let socket = match &self.0 {
            Some(socket) => socket,
            // Without a protocol, a packet socket receives nothing.
            None => {
                self.0.insert(socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?)
            }
        };
        let from = address(ifindex)?;
        for frame in frames {
            sendto(socket.as_raw_fd(), &frame, &from, MsgFlags::MSG_DONTWAIT)?;
        }
        Ok(())
    }
}
