//! ICMPv6: echo requests to a VIP, and who has one (RFC 4443, RFC 4861).

use lb_common::csum::{Delta, pseudo_header};
use lb_common::flow::FlowKey;
use lb_common::net::{Address as _, Be16, Ipv6, Mac, Protocol};
use lb_common::port::PortValue;
use lb_common::reason::Reason;
use lb_common::vip::{ANSWER_ARP, ANSWER_ECHO};

use crate::answer::TTL;
use crate::answer::v6::header_to;
use crate::family::{Family as _, V6};
use crate::headers::{Aligned, Ethernet, SOURCE, Solicitation, Word};
use crate::journey::addressed_to_us;
use crate::listener::Listeners as _;
use crate::packet::{Hook, Packet};
use crate::parse::Ip;
use crate::stats;
use crate::verdict::Action;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// An advertisement says: an answer to a solicitation, and better than what was known.
const SOLICITED_OVERRIDE: u8 = 0x60;
const OVERRIDE: u8 = 0x20;
const TARGET_LINK_ADDRESS: u8 = 2;
/// The hop limit of a message that no router has passed on (RFC 4861 section 11.2).
const ON_LINK: u8 = 255;
/// All nodes of a link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6 = Ipv6::new([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// An advertisement with the option that tells the link address.
const LENGTH: u16 = 32;
/// What a checksum is completed from.
const NOTHING: u16 = 0xffff;

/// Is it an error of a kind that RFC 4443 knows: destination unreachable, packet too big, time exceeded or
/// parameter problem?
#[inline(always)]
pub const fn is_error(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

/// Answers an echo request or a neighbour solicitation in its own frame.
///
/// # Errors
///
/// `NotOurs` if it does not concern a VIP; `IcmpUnhandled` for anything else, and where the VIP or the sender is
/// not to be answered for.
#[inline(always)]
pub fn take<P: Packet>(packet: &mut P, ip: &Ip<Ipv6>, port: &PortValue) -> Result<Action, Reason> {
    if P::HOOK == Hook::Egress {
        return Err(Reason::NotOurs);
    }
    packet.pull(ip.transport + size_of::<Solicitation>());
    let [kind, ..]: Word = *packet.header(ip.transport).ok_or(Reason::NotOurs)?;
    if kind == SOLICITATION {
        return solicited(packet, ip, port);
    }
    let vip = ip.destination.vip().ok_or(Reason::NotOurs)?;
    addressed_to_us(packet, port)?;
    if !ip.sound || packet.length() < ip.transport as u32 + u32::from(ip.length) {
        return Err(Reason::Malformed);
    }
    if kind != ECHO_REQUEST || vip.flags & ANSWER_ECHO == 0 || !V6::answerable(ip.source) {
        return Err(Reason::IcmpUnhandled);
    }
    echo(packet, ip, port)
}

#[inline(always)]
fn echo<P: Packet>(packet: &mut P, ip: &Ip<Ipv6>, port: &PortValue) -> Result<Action, Reason> {
    let [_, code, a, b]: Word = *packet.header(ip.transport).ok_or(Reason::Malformed)?;
    let to = Aligned(packet.header::<Ethernet>(0).ok_or(Reason::Malformed)?.source);
    // Swapping the addresses does not change the sum.
    let [a, b] = Delta::new()
        .replace16(u16::from_ne_bytes([ECHO_REQUEST, 0]), u16::from_ne_bytes([ECHO_REPLY, 0]))
        .apply(u16::from_ne_bytes([a, b]))
        .to_ne_bytes();
    let network = packet.network();
    packet.store(ip.transport, &Aligned([ECHO_REPLY, code, a, b]).0)?;
    store_hops(packet, TTL)?;
    packet.store(network + V6::ADDRESSES, &Aligned([ip.destination, ip.source]).0)?;
    packet.store(0, &to.0)?;
    packet.store(SOURCE, &port.mac)?;
    stats::count(Reason::EchoAnswered);
    Ok(Action::Back)
}

/// Writes the hop limit, with its neighbour: the verifier does not follow a check for a single byte.
#[inline(always)]
fn store_hops<P: Packet>(packet: &mut P, hops: u8) -> Result<(), Reason> {
    packet.store(packet.network() + V6::HOPS - 1, &Be16([V6::CONTROL, hops]))
}

/// Answers who has a VIP (RFC 4861 section 7.2.4). A probe for a duplicate, from nobody, is told to all.
///
/// # Errors
///
/// `NotOurs` for everything else.
#[inline(always)]
fn solicited<P: Packet>(packet: &mut P, ip: &Ip<Ipv6>, port: &PortValue) -> Result<Action, Reason> {
    let found: &Solicitation = packet.header(ip.transport).ok_or(Reason::NotOurs)?;
    let target = found.target;
    let vip = target.vip().ok_or(Reason::NotOurs)?;
    let valid = ip.hops == ON_LINK && found.code == 0 && usize::from(ip.length) >= size_of::<Solicitation>();
    if !valid || vip.flags & ANSWER_ARP == 0 {
        return Err(Reason::NotOurs);
    }
    let Ethernet { destination: addressed, source: asker, .. } = *packet.header(0).ok_or(Reason::NotOurs)?;
    if !addressed.is_multicast() && addressed != port.mac {
        return Err(Reason::NotOurs);
    }
    let probes = ip.source == Ipv6::default();
    let (to, flags) = if probes { (ALL_NODES, OVERRIDE) } else { (ip.source, SOLICITED_OVERRIDE) };
    let network = packet.network();
    let length = (ip.transport + usize::from(LENGTH)) as u32;
    packet.resize(length)?;
    let key = FlowKey {
        source: target,
        destination: to,
        source_port: Be16::new(0),
        destination_port: Be16::new(0),
        protocol: Protocol::Tcp,
    };
    packet.store(network, &header_to(&key, V6::CONTROL, LENGTH).0)?;
    store_hops(packet, ON_LINK)?;
    packet.store(ip.transport, &advertisement(target, to, flags, port.mac).0)?;
    packet.store(0, &asker)?;
    packet.store(SOURCE, &port.mac)?;
    stats::count(Reason::NeighbourAnswered);
    Ok(Action::Back)
}

/// The message, with its checksum.
#[inline(always)]
fn advertisement(target: Ipv6, to: Ipv6, flags: u8, mac: Mac) -> Aligned<[Word; 8]> {
    let [a, b, c, d, e, f] = mac.0;
    let word = |index| target.word(index).to_ne_bytes();
    let (first, second) = ([TARGET_LINK_ADDRESS, 1, a, b], [c, d, e, f]);
    // One store, which the verifier wants aligned, rather than one for the flags and another beside it.
    let (kind, flags) = ([ADVERTISEMENT, 0, 0, 0], u32::from(flags).to_le_bytes());
    let sum = Delta::new().replace16(0, pseudo_header(target, to, V6::CONTROL, LENGTH));
    let words = [kind, flags, word(0), word(1), word(2), word(3), first, second];
    let sum = words.into_iter().fold(sum, |sum, word| sum.replace32(0, u32::from_ne_bytes(word)));
    let [x, y] = sum.apply(NOTHING).to_ne_bytes();
    Aligned([[ADVERTISEMENT, 0, x, y], flags, word(0), word(1), word(2), word(3), first, second])
}
