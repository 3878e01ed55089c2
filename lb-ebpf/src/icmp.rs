//! ICMP.

use lb_common::csum::Delta;
use lb_common::net::{Be16, Ipv4};
use lb_common::port::PortValue;
use lb_common::reason::Reason;
use lb_common::vip::ANSWER_ECHO;
use network_types::icmp::Icmpv4Hdr;
use network_types::ip::Ipv4Hdr;

use crate::answer::TTL;
use crate::family::{Family as _, V4};
use crate::headers::{Ethernet, SOURCE};
use crate::journey::addressed_to_us;
use crate::listener::Listeners as _;
use crate::packet::{Hook, Packet};
use crate::parse::Ip;
use crate::stats;
use crate::verdict::Action;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const HEADER_CHECKSUM: usize = 10;

/// Is it an error that is heeded? Source quench is not (RFC 6633), and a redirect is for hosts.
#[inline(always)]
pub const fn is_error(kind: u8) -> bool {
    const UNREACHABLE: u8 = 3;
    const TIME_EXCEEDED: u8 = 11;
    const PARAMETER_PROBLEM: u8 = 12;
    matches!(kind, UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

/// Answers an echo request in its own frame.
///
/// # Errors
///
/// `NotOurs` if it is not to a VIP; `IcmpUnhandled` for anything else, and where the VIP or the sender is not to be answered for.
#[inline(always)]
pub fn take<P: Packet>(packet: &mut P, ip: &Ip<Ipv4>, port: &PortValue) -> Result<Action, Reason> {
    if P::HOOK == Hook::Egress {
        return Err(Reason::NotOurs);
    }
    let vip = ip.destination.vip().ok_or(Reason::NotOurs)?;
    addressed_to_us(packet, port)?;
    if !ip.sound || packet.length() < ip.transport as u32 + u32::from(ip.length) {
        return Err(Reason::Malformed);
    }
    packet.pull(ip.transport + size_of::<Icmpv4Hdr>());
    let icmp: &Icmpv4Hdr = packet.header(ip.transport).ok_or(Reason::Malformed)?;
    let request = icmp.type_ == ECHO_REQUEST && icmp.code == 0;
    if !request || vip.flags & ANSWER_ECHO == 0 || !V4::answerable(ip.source) {
        return Err(Reason::IcmpUnhandled);
    }
    let check = Delta::new()
        .replace16(u16::from_ne_bytes([ECHO_REQUEST, 0]), u16::from_ne_bytes([ECHO_REPLY, 0]))
        .apply(u16::from_ne_bytes(icmp.check));
    let network = packet.network();
    let to = packet.header::<Ethernet>(0).ok_or(Reason::Malformed)?.source;
    let header = packet.header::<Ipv4Hdr>(network).ok_or(Reason::Malformed)?.check;
    // Swapping the addresses does not change the sum.
    let header = Delta::new()
        .replace16(u16::from_ne_bytes([ip.hops, 0]), u16::from_ne_bytes([TTL, 0]))
        .apply(u16::from_ne_bytes(header));
    packet.store(ip.transport, &Be16([ECHO_REPLY, 0]))?;
    packet.store(ip.transport + 2, &Be16::from_raw(check))?;
    packet.store(network + V4::HOPS, &Be16([TTL, ip.protocol]))?;
    packet.store(network + HEADER_CHECKSUM, &Be16::from_raw(header))?;
    packet.store(network + V4::ADDRESSES, &[ip.destination, ip.source])?;
    packet.store(0, &to)?;
    packet.store(SOURCE, &port.mac)?;
    stats::count(Reason::EchoAnswered);
    Ok(Action::Back)
}
