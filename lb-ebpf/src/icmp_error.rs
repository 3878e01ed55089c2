//! ICMP errors about packets that were rewritten here.
//!
//! An error goes to who sent what it is about, so it takes the half of the flow that answers to the quoted packet
//! take. What it quotes is rewritten back, so that the receiver finds what it has sent.

use core::mem::MaybeUninit;

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use lb_common::csum::Delta;
use lb_common::flow::{FlowEntry, FlowKey};
use lb_common::net::{Address, Be16, Ipv4, Ipv6, Protocol};
use lb_common::port::PortValue;
use lb_common::reason::Reason;

use crate::config::Clock;
use crate::family::Family;
use crate::journey::addressed_to_us;
use crate::listener::Listeners as _;
use crate::packet::{Hook, Packet};
use crate::parse::Ip;
use crate::quote::{self, Quote};
use crate::rewrite::Hops;
use crate::transmit::{self, Exit};
use crate::verdict::Action;
use crate::{backend, flow, stats};

/// Where the checksum of an ICMP message is, from its start.
const CHECKSUM: usize = 2;

/// What an error is to say, and which way it goes.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Correction<A> {
    /// The tuple that its receiver has sent.
    sent: FlowKey<A>,
    /// In whose name it comes.
    source: A,
    /// What it quotes.
    quote: Quote,
    /// The way out.
    exit: Exit,
    /// The TTL of the packet that carries it.
    hops: Hops,
}

const _: () = assert!(size_of::<Correction<Ipv4>>() <= size_of::<Correction<Ipv6>>());

/// Each CPU's own, of one packet: from the function that decides to the one that carries out, for the stack of
/// all functions on the way to an instruction is 512 bytes.
#[btf_map]
static CORRECTION: PerCpuArray<MaybeUninit<Correction<Ipv6>>, 1> = PerCpuArray::new();

/// The place for a correction, of either family.
#[inline(always)]
fn place<A: Address>() -> Option<*mut Correction<A>> {
    CORRECTION.get_ptr_mut(0).map(<*mut _>::cast)
}

/// Sends an error on to whom it concerns. It neither keeps a flow alive nor ends it: anybody may send one.
///
/// # Errors
///
/// `IcmpErrorUnknown` where it is to a VIP and about no known flow, `NotOurs` where it is to somebody else; and
/// why it can't be sent on.
#[inline(never)]
pub fn take<P: Packet, F: Family>(
    packet: &mut P,
    ip: &Ip<F::Address>,
    port: &PortValue,
) -> Result<Action, Reason> {
    let ours = P::HOOK != Hook::Egress && ip.destination.vip().is_some();
    if ours {
        addressed_to_us(packet, port)?;
    }
    match decide::<P, F>(packet, ip, port) {
        Ok(()) => mend::<P, F>(packet, ip),
        Err(Reason::NotOurs) if ours => Err(Reason::IcmpErrorUnknown),
        Err(Reason::Malformed) if !ours => Err(Reason::NotOurs),
        Err(reason) => Err(reason),
    }
}

/// Finds the half of a flow that the error takes, and notes what it is to say. An error comes from a router, which
/// keeps its name; or from who was to get the packet. A backend speaks in the name of its VIP, and one that knows
/// all clients as the VIP gets everything from there.
#[inline(never)]
fn decide<P: Packet, F: Family>(packet: &mut P, ip: &Ip<F::Address>, port: &PortValue) -> Result<(), Reason> {
    if !ip.sound || packet.length() < ip.transport as u32 + u32::from(ip.length) {
        return Err(Reason::Malformed);
    }
    let (key, quote) = quote::read::<P, F>(packet, ip).ok_or(Reason::NotOurs)?;
    if key.source != ip.destination {
        return Err(Reason::NotOurs);
    }
    let clock = &Clock::read().ok_or(Reason::NotOurs)?;
    let hit = flow::lookup(&key.reversed(), clock).ok_or(Reason::NotOurs)?;
    let entry = &hit.entry;
    let backend = backend::serving(entry.backend).ok_or(Reason::NotOurs)?;
    if hit.expired(clock) || !acts::<P, F>(entry) {
        return Err(Reason::NotOurs);
    }
    addressed_to_us(packet, port)?;
    let (exit, hops) = transmit::way::<P, F>(packet, entry, backend, port, ip.hops)?;
    let sent = entry.rewritten().reversed();
    let hidden = entry.head.is_masqueraded() && !entry.head.is_reply();
    let source = if hidden || ip.source == entry.source { sent.destination } else { ip.source };
    let place = place().ok_or(Reason::Inconsistent)?;
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    unsafe { place.write(Correction { sent, source, quote, exit, hops }) };
    Ok(())
}

/// Does this half of a flow take errors here? As for other packets, except that errors about packets which
/// were handed to the stack may come from the node itself: such a one is first seen at egress.
#[inline(always)]
fn acts<P: Packet, F: Family>(entry: &FlowEntry<F::Address>) -> bool {
    let head = entry.head;
    if P::HOOK == Hook::Egress {
        head.is_reply() && !head.is_masqueraded()
    } else {
        !head.is_reply() || !head.at_egress()
    }
}

/// Rewrites what is quoted, the message's checksum and the header that carries it, and sends it on.
#[inline(never)]
fn mend<P: Packet, F: Family>(packet: &mut P, ip: &Ip<F::Address>) -> Result<Action, Reason> {
    let noted = place::<F::Address>().ok_or(Reason::Inconsistent)?;
    // SAFETY: `decide` has noted it, on the same CPU and for the same packet.
    let Correction { sent, source, quote, exit, hops } = unsafe { &*noted };
    let outer = exchange_addresses::<P, F>(packet, packet.network(), source, &sent.source)?;
    let inner = exchange_addresses::<P, F>(packet, quote.network, &sent.source, &sent.destination)?;
    let ports = exchange(packet, quote.transport, &sent.source_port)?.plus(exchange(
        packet,
        quote.transport + 2,
        &sent.destination_port,
    )?);
    let mut change = inner.plus(ports);
    if quote.field != 0 {
        let by = inner.plus(ports);
        change = change.plus(amend(packet, quote.field, |field| match sent.protocol {
            Protocol::Tcp => by.apply(field),
            Protocol::Udp => by.apply_udp(field),
        })?);
    }
    let hop = exchange_hops::<P, F>(packet, ip.protocol, *hops)?;
    if let Some(offset) = F::CHECKSUM {
        change = change.plus(amend(packet, quote.network + offset, |field| inner.apply(field))?);
        let _ = amend(packet, packet.network() + offset, |field| outer.plus(hop).apply(field))?;
    } else {
        // The header has no sum; instead, its addresses are part of the message's.
        change = change.plus(outer);
    }
    let _ = amend(packet, ip.transport + CHECKSUM, |field| change.apply(field))?;
    stats::count(Reason::IcmpErrorForwarded);
    transmit::leave(packet, exit)
}

/// Replaces both addresses of the header at `network`, and gives the change of a sum over them.
#[inline(always)]
fn exchange_addresses<P: Packet, F: Family>(
    packet: &mut P,
    network: usize,
    source: &F::Address,
    destination: &F::Address,
) -> Result<Delta, Reason> {
    let at = network + F::ADDRESSES;
    let (old_source, old_destination): (F::Address, F::Address) = (
        *packet.header(at).ok_or(Reason::WriteFailed)?,
        *packet.header(at + size_of::<F::Address>()).ok_or(Reason::WriteFailed)?,
    );
    packet.store(at, source)?;
    packet.store(at + size_of::<F::Address>(), destination)?;
    Ok(Delta::new().replace(old_source, *source).replace(old_destination, *destination))
}

/// Replaces the TTL, and gives the change of a sum over it. It is written with its neighbour, the protocol: the
/// verifier does not follow a check for a single byte.
#[inline(always)]
fn exchange_hops<P: Packet, F: Family>(packet: &mut P, protocol: u8, hops: Hops) -> Result<Delta, Reason> {
    let word = |hops| if F::HOPS.is_multiple_of(2) { Be16([hops, protocol]) } else { Be16([protocol, hops]) };
    if hops.change() {
        packet.store(packet.network() + (F::HOPS & !1), &word(hops.after))?;
    }
    Ok(Delta::new().replace16(word(hops.before).raw(), word(hops.after).raw()))
}

/// Replaces a port, and gives the change of a sum over it.
#[inline(always)]
fn exchange<P: Packet>(packet: &mut P, offset: usize, port: &Be16) -> Result<Delta, Reason> {
    amend(packet, offset, |_| port.raw())
}

/// Changes a word, and gives the change of a sum over it.
#[inline(always)]
fn amend<P: Packet>(
    packet: &mut P,
    offset: usize,
    changed: impl FnOnce(u16) -> u16,
) -> Result<Delta, Reason> {
    let before = packet.header::<Be16>(offset).ok_or(Reason::WriteFailed)?.raw();
    let after = changed(before);
    packet.store(offset, &Be16::from_raw(after))?;
    Ok(Delta::new().replace16(before, after))
}
