//! The way out.

use lb_common::backend::{BackendRef, BackendValue, REPLY_AT_EGRESS, ROUTED};
use lb_common::flow::{FlowEntry, FlowKey};
use lb_common::net::{Address, Mac};
use lb_common::port::{ACCOUNTED, PortValue};
use lb_common::reason::Reason;

use crate::family::Family;
use crate::headers::{Aligned, SOURCE};
use crate::journey::Step;
use crate::mask::masked;
use crate::observe::trace;
use crate::packet::{Hook, Packet};
use crate::parse::{Fragment, Segment};
use crate::refuse::Refusal;
use crate::rewrite::sum;
use crate::rewrite::{Hops, Rewrite};
use crate::verdict::Action;
use crate::{mtu, next_hop, port, stats, vlan};

/// The way out of the node. Not an `enum`: the compiler reads what a variant lacks all the same, and the verifier
/// does not have that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    way: u32,
    /// The interface for [`REDIRECT`].
    interface: u32,
    /// Whom the frame is addressed to, but for [`STACK`].
    destination: Aligned<Mac>,
    /// From whom, for [`BACK`] and [`REDIRECT`].
    source: Aligned<Mac>,
}

impl Exit {
    /// The same, but the verifier does not know any more which way it is: it follows what comes now once, instead of
    /// once for each way. The port's last two flags are never set.
    #[inline(always)]
    const fn forgotten(self, port: &PortValue) -> Self {
        Self { way: (self.way + (port.flags >> 30)) & 3, ..self }
    }
}

/// As it is, to where it would have gone without us.
const STACK: u32 = 0;
/// To whom the bridge delivers by its address.
const BRIDGE: u32 = 1;
/// Out of the interface through which it came.
const BACK: u32 = 2;
/// Out of another interface.
const REDIRECT: u32 = 3;

const UNSET: Aligned<Mac> = Aligned(Mac([0; 6]));
const TO_STACK: Exit = Exit { way: STACK, interface: 0, destination: UNSET, source: UNSET };

/// What is to be done with a packet that took its flow.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, none of which excludes another")]
#[derive(Clone, Copy)]
pub struct Order<A: Address> {
    /// The packet's segment.
    pub segment: Segment<A>,
    /// Its tuple after the rewrite.
    to: FlowKey<A>,
    /// Which way it goes.
    exit: Exit,
    /// Does it pass a router on that way?
    routed: bool,
    /// Is its checksum left to a device?
    partial: bool,
    /// Is its flow due for upkeep?
    due: bool,
    /// Is it an answer?
    reply: bool,
    /// Whose counters count it.
    backend: BackendRef,
}

impl<A: Address> Order<A> {
    /// The tuple that the client sends.
    #[inline(always)]
    pub fn dialled(&self) -> FlowKey<A> {
        if self.reply { self.to.reversed() } else { self.segment.key }
    }

    /// Is it an answer?
    #[inline(always)]
    pub const fn is_reply(&self) -> bool {
        self.reply
    }
}

/// What is known of a packet that takes its flow.
#[derive(Clone, Copy)]
pub struct Taken {
    /// Is its checksum left to a device?
    pub partial: bool,
    /// Is its flow due for upkeep?
    pub due: bool,
}

/// Sends a client's packet on to its backend, or refuses it as too long.
///
/// # Errors
///
/// Why that is not possible; the packet is untouched unless it is `WriteFailed`.
#[inline(always)]
pub fn forward<P: Packet, F: Family>(
    packet: &mut P,
    segment: &Segment<F::Address>,
    entry: &FlowEntry<F::Address>,
    taken: Taken,
    backend: &BackendValue,
    port: &PortValue,
) -> Result<Step, Reason> {
    let exit = to_backend(backend, port, packet.interface(), vlan::of(packet))?;
    if backend.mac.is_unset() && (backend.ifindex != 0 || backend.bridge != 0) {
        stats::count(Reason::NeighbourUnknown);
    }
    let routed = backend.flags & ROUTED != 0;
    let exit = match fit::<P, F>(packet, segment, exit, backend.mtu, routed) {
        Ok(exit) => exit,
        Err(misfit) => return misfit,
    };
    F::carry_out(packet, &order(segment, entry, taken, backend, exit.forgotten(port)), port)
}

/// Sends a backend's answer on to the client, or refuses it as too long.
///
/// # Errors
///
/// Why that is not possible; the packet is untouched unless it is `WriteFailed`.
#[inline(always)]
pub fn reply<P: Packet, F: Family>(
    packet: &mut P,
    segment: &Segment<F::Address>,
    entry: &FlowEntry<F::Address>,
    taken: Taken,
    backend: &BackendValue,
    port: &PortValue,
) -> Result<Step, Reason> {
    let mut exit = TO_STACK;
    // At egress, the stack or the bridge has let it through already.
    if !entry.head.at_egress() {
        let (way, mtu) = to_client(entry.next_hop, port, packet.interface(), vlan::of(packet))?;
        let routed = backend.flags & ROUTED != 0;
        exit = match fit::<P, F>(packet, segment, way, mtu, routed) {
            Ok(exit) => exit,
            Err(misfit) => return misfit,
        };
    }
    F::carry_out(packet, &order(segment, entry, taken, backend, exit.forgotten(port)), port)
}

/// The way out of a packet that may be longer than that carries, or what else becomes of it. Where it may be cut
/// into fragments, the stack does that if it routes to the same place; a bridge would drop it without a word.
#[inline(always)]
fn fit<P: Packet, F: Family>(
    packet: &P,
    segment: &Segment<F::Address>,
    exit: Exit,
    mtu: u16,
    routed: bool,
) -> Result<Exit, Result<Step, Reason>> {
    if !mtu::exceeds(packet, segment, mtu) {
        return Ok(exit);
    }
    if segment.fragment == Fragment::Later {
        return Err(Err(Reason::TooBigDropped));
    }
    if !F::is_divisible(packet) {
        return Err(Ok(Step::refuse::<F>(Refusal::TooBig(mtu))));
    }
    if routed || exit.way == STACK { Ok(TO_STACK) } else { Err(Err(Reason::TooBigDropped)) }
}

#[inline(always)]
fn order<A: Address>(
    segment: &Segment<A>,
    entry: &FlowEntry<A>,
    taken: Taken,
    backend: &BackendValue,
    exit: Exit,
) -> Order<A> {
    Order {
        segment: *segment,
        to: FlowKey { protocol: segment.key.protocol, ..entry.rewritten() },
        exit,
        routed: backend.flags & ROUTED != 0,
        partial: taken.partial,
        due: taken.due,
        reply: entry.head.is_reply(),
        backend: entry.backend,
    }
}

#[inline(always)]
fn to_backend(backend: &BackendValue, port: &PortValue, interface: u32, vlans: u32) -> Result<Exit, Reason> {
    if backend.mac.is_unset() {
        return Ok(TO_STACK);
    }
    if backend.ifindex == interface {
        return Ok(wire(BACK, interface, backend.mac, port.mac));
    }
    if backend.bridge != 0 && backend.bridge == port.bridge {
        return Ok(Exit { way: BRIDGE, destination: Aligned(backend.mac), ..TO_STACK });
    }
    // Answers that pass the stack must find that it has seen the question: it drops them as invalid otherwise.
    if backend.ifindex == 0 || backend.flags & REPLY_AT_EGRESS != 0 {
        return Ok(TO_STACK);
    }
    // Its tag would be wrong there.
    if vlans != 0 {
        return Err(Reason::VlanMismatch);
    }
    let out = port::known(backend.ifindex).ok_or(Reason::Inconsistent)?;
    Ok(wire(REDIRECT, backend.ifindex, backend.mac, out.mac))
}

/// With how long a packet may be there.
#[inline(always)]
fn to_client(hop: u16, port: &PortValue, interface: u32, vlans: u32) -> Result<(Exit, u16), Reason> {
    let hop = next_hop::get(hop).ok_or(Reason::NextHopUnknown)?;
    if hop.vlans != vlans {
        return Err(Reason::VlanMismatch);
    }
    if hop.ifindex == interface {
        return Ok((wire(BACK, interface, hop.mac(), port.mac), port.mtu));
    }
    let out = port::known(hop.ifindex).ok_or(Reason::NextHopUnknown)?;
    Ok((wire(REDIRECT, hop.ifindex, hop.mac(), out.mac), out.mtu))
}

/// The way that half a flow takes, for a packet of another kind, and what becomes of its TTL.
///
/// # Errors
///
/// Why there is none.
#[inline(always)]
pub fn way<P: Packet, F: Family>(
    packet: &P,
    entry: &FlowEntry<F::Address>,
    backend: &BackendValue,
    port: &PortValue,
    before: u8,
) -> Result<(Exit, Hops), Reason> {
    let exit = if P::HOOK == Hook::Egress {
        TO_STACK
    } else if entry.head.is_reply() {
        to_client(entry.next_hop, port, packet.interface(), vlan::of(packet))?.0
    } else {
        to_backend(backend, port, packet.interface(), vlan::of(packet))?
    };
    let routed = backend.flags & ROUTED != 0 && exit.way >= BACK;
    Ok((exit, if routed { hop(before)? } else { Hops::kept(before) }))
}

/// Addresses the frame to who is next.
///
/// # Errors
///
/// `WriteFailed`.
#[inline(always)]
pub fn leave<P: Packet>(packet: &mut P, exit: &Exit) -> Result<Action, Reason> {
    if exit.way != STACK {
        packet.store(0, &exit.destination.0)?;
    }
    if exit.way >= BACK {
        packet.store(SOURCE, &exit.source.0)?;
    }
    Ok(match exit.way {
        BACK => Action::Back,
        REDIRECT => Action::Redirect(exit.interface),
        _ => Action::Pass,
    })
}

/// Carries out an order.
///
/// # Errors
///
/// Why that is not possible; the packet is untouched unless it is `WriteFailed`.
#[inline(always)]
pub fn carry_out<P: Packet, F: Family>(
    packet: &mut P,
    order: &Order<F::Address>,
    port: &PortValue,
) -> Result<Step, Reason> {
    let segment = &order.segment;
    let bytes = packet.bytes(segment.end());
    let leaves = order.exit.way >= BACK;
    let hops = if order.routed && leaves { hop(segment.hops)? } else { Hops::kept(segment.hops) };
    let rewrite = Rewrite {
        from: segment.key,
        to: order.to,
        transport: segment.transport,
        length: segment.length,
        hops,
        sum: sum::plan(packet, segment, port, order.partial, leaves)?,
    };
    trace::exit(order.partial, order.exit.way, order.exit.interface);
    packet.rewrite::<F>(&rewrite)?;
    let action = leave(packet, &order.exit)?;
    let step = Step::done(packet, action).due(order.due);
    // To the verifier, what is read back may be any byte.
    let reply = masked::<1>(u32::from(order.reply)) != 0;
    stats::packet(order.backend, reply, bytes);
    if port.flags & ACCOUNTED != 0 {
        F::account(order, bytes);
    }
    Ok(step)
}

#[inline(always)]
const fn wire(way: u32, interface: u32, destination: Mac, source: Mac) -> Exit {
    Exit { way, interface, destination: Aligned(destination), source: Aligned(source) }
}

#[inline(always)]
const fn hop(before: u8) -> Result<Hops, Reason> {
    if before <= 1 { Err(Reason::TtlExpired) } else { Ok(Hops { before, after: before - 1 }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u32 = 3;
    const BACKEND: Mac = Mac([2, 0, 0, 0, 1, 11]);
    const PORT: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn exit(ifindex: u32, bridge: u32, mac: Mac) -> Exit {
        let backend = BackendValue { ifindex, bridge, mac, ..BackendValue::default() };
        let port = PortValue { bridge: 9, mac: PORT, ..PortValue::default() };
        to_backend(&backend, &port, HERE, 0).unwrap()
    }

    #[test]
    fn a_backend_on_the_same_interface_goes_back_even_if_bridged() {
        assert_eq!(exit(HERE, 0, BACKEND), wire(BACK, HERE, BACKEND, PORT));
        assert_eq!(exit(HERE, 9, BACKEND), wire(BACK, HERE, BACKEND, PORT));
    }

    #[test]
    fn the_own_bridge_delivers_and_the_stack_does_the_rest() {
        assert_eq!(exit(4, 9, BACKEND), Exit { way: BRIDGE, destination: Aligned(BACKEND), ..TO_STACK });
        assert_eq!(exit(0, 0, BACKEND), TO_STACK);
        assert_eq!(exit(0, 8, BACKEND), TO_STACK, "another bridge");
        assert_eq!(exit(4, 9, Mac::default()), TO_STACK, "no neighbour");
    }

    #[test]
    fn a_question_whose_answer_passes_the_stack_passes_it_too() {
        let flags = REPLY_AT_EGRESS | ROUTED;
        let backend = |ifindex| BackendValue { ifindex, flags, mac: BACKEND, ..BackendValue::default() };
        let port = PortValue { mac: PORT, ..PortValue::default() };
        assert_eq!(to_backend(&backend(4), &port, HERE, 0).unwrap(), TO_STACK);
        assert_eq!(to_backend(&backend(HERE), &port, HERE, 0).unwrap(), wire(BACK, HERE, BACKEND, PORT));
    }

    #[test]
    fn a_tagged_packet_stays_on_its_network() {
        let backend = |ifindex| BackendValue { ifindex, mac: BACKEND, ..BackendValue::default() };
        let port = PortValue { mac: PORT, ..PortValue::default() };
        assert_eq!(to_backend(&backend(4), &port, HERE, 7), Err(Reason::VlanMismatch));
        assert_eq!(to_backend(&backend(HERE), &port, HERE, 7), Ok(wire(BACK, HERE, BACKEND, PORT)));
        assert_eq!(to_backend(&backend(0), &port, HERE, 7), Ok(TO_STACK));
    }

    #[test]
    fn the_last_hop_is_not_taken() {
        assert_eq!(hop(2), Ok(Hops { before: 2, after: 1 }));
        assert_eq!(hop(1), Err(Reason::TtlExpired));
        assert_eq!(hop(0), Err(Reason::TtlExpired));
    }
}
