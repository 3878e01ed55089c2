//! ICMP messages (RFC 792).

use super::{Packet, packet};

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;

/// *Port unreachable* about `datagram`, from where it went: its IP header and the eight bytes after it are
/// quoted.
pub fn port_unreachable(datagram: &Packet) -> Packet {
    let bytes = datagram.network_bytes();
    let quoted = usize::from(bytes[0] & 0xf) * 4 + 8;
    packet()
        .ethernet(datagram.macs.1, datagram.macs.0)
        .from(datagram.destination)
        .to(datagram.source)
        .icmp(UNREACHABLE, 3, [0; 4])
        .payload(&bytes[..quoted])
}
