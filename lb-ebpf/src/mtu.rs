//! How long a packet may be on its way out.

use lb_common::net::{Address, Protocol};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use crate::packet::Packet;
use crate::parse::{Fragment, Segment};

/// Is a packet longer than `mtu`, as an IP packet? Nothing is where that is 0: unknown.
#[inline(always)]
pub fn exceeds<P: Packet, A: Address>(packet: &P, segment: &Segment<A>, mtu: u16) -> bool {
    let network = packet.network() as u32;
    // The length minus one against the limit minus one: for zero that is more than any.
    let is_long = segment.end().wrapping_sub(network + 1) > u32::from(mtu.wrapping_sub(1));
    is_long && (packet.piece() == 0 || cut(packet, segment) > network + u32::from(mtu))
}

/// Where each of the packets will end that a device cuts a segmentation-offload giant into.
#[inline(always)]
fn cut<P: Packet, A: Address>(packet: &P, segment: &Segment<A>) -> u32 {
    let header = match (segment.key.protocol, segment.fragment) {
        (_, Fragment::Later) => 0,
        (Protocol::Tcp, _) => packet
            .header::<TcpHdr>(segment.transport)
            .map_or(size_of::<TcpHdr>() as u16, |tcp| tcp.doff() * 4),
        (Protocol::Udp, _) => size_of::<UdpHdr>() as u16,
    };
    segment.transport as u32 + u32::from(header) + packet.piece()
}
