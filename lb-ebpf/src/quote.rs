//! What an ICMP error quotes: the beginning of the packet that it is about.

use lb_common::flow::FlowKey;
use lb_common::net::Protocol;

use crate::family::Family;
use crate::headers::Ports;
use crate::packet::Packet;
use crate::parse::{Fragment, Ip};

/// An ICMP header: what stands before the quote.
const HEADER: usize = 8;

/// Bytes of the transport header that every error quotes (RFC 792).
const LEAST: usize = 8;

/// Where the parts of a quoted packet are, from the start of the frame.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    /// Its IP header.
    pub network: usize,
    /// TCP or UDP.
    pub transport: usize,
    /// The checksum field of that; 0 where the quote ends before it does.
    pub field: usize,
}

/// Reads the quote of an error that is as long as its header says, and the tuple of the packet. `None` where it is
/// no TCP or UDP, is a fragment without ports, or too short to be told.
#[inline(always)]
pub fn read<P: Packet, F: Family>(
    packet: &mut P,
    error: &Ip<F::Address>,
) -> Option<(FlowKey<F::Address>, Quote)> {
    let end = error.transport + usize::from(error.length);
    let network = error.transport + HEADER;
    let fixed = network + size_of::<F::Fixed>();
    if fixed > end {
        return None;
    }
    packet.pull(fixed);
    let ip = F::read(packet.header(network)?, network);
    let protocol = Protocol::from_number(ip.protocol)?;
    if !ip.sound || ip.fragment == Fragment::Later || ip.transport + LEAST > end {
        return None;
    }
    let field = ip.transport + checksum(protocol);
    let quoted = field + 2 <= end;
    packet.pull(if quoted { field + 2 } else { ip.transport + LEAST });
    let ports: &Ports = packet.header(ip.transport)?;
    let key = FlowKey {
        source: ip.source,
        destination: ip.destination,
        source_port: ports.source,
        destination_port: ports.destination,
        protocol,
    };
    Some((key, Quote { network, transport: ip.transport, field: if quoted { field } else { 0 } }))
}

/// Where a transport header has its checksum.
#[inline(always)]
const fn checksum(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 16,
        Protocol::Udp => 6,
    }
}
