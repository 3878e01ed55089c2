//! The way out.

use lb_common::backend::{BackendValue, REPLY_AT_EGRESS, ROUTED};
use lb_common::flow::{FlowEntry, FlowKey};
use lb_common::net::Mac;
use lb_common::port::PortValue;
use lb_common::reason::Reason;

use crate::family::Family;
use crate::headers::{Aligned, SOURCE};
use crate::packet::Packet;
use crate::parse::Segment;
use crate::rewrite::sum;
use crate::rewrite::{Hops, Rewrite};
use crate::verdict::Action;
use crate::{next_hop, port, stats};

/// The way out of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Exit {
    /// As it is, to where it would have gone without us.
    Stack,
    /// To whom the bridge delivers by this address.
    Bridge(Aligned<Mac>),
    /// Out of an interface.
    Wire(Action, Aligned<Mac>, Aligned<Mac>),
}

/// Sends a client's packet on to its backend.
///
/// # Errors
///
/// Why that is not possible; the packet is untouched unless it is `WriteFailed`.
#[inline(always)]
pub fn forward<P: Packet, F: Family>(
    packet: &mut P,
    segment: &Segment<F::Address>,
    entry: &FlowEntry<F::Address>,
    partial: bool,
    backend: &BackendValue,
    port: &PortValue,
) -> Result<Action, Reason> {
    let exit = to_backend(backend, port, packet.interface())?;
    let routed = backend.flags & ROUTED != 0;
    if backend.mac.is_unset() && (backend.ifindex != 0 || backend.bridge != 0) {
        stats::count(Reason::NeighbourUnknown);
    }
    send::<P, F>(packet, segment, entry, partial, exit, routed, port)
}

/// Sends a backend's answer on to the client.
///
/// # Errors
///
/// Why that is not possible; the packet is untouched unless it is `WriteFailed`.
#[inline(always)]
pub fn reply<P: Packet, F: Family>(
    packet: &mut P,
    segment: &Segment<F::Address>,
    entry: &FlowEntry<F::Address>,
    partial: bool,
    backend: &BackendValue,
    port: &PortValue,
) -> Result<Action, Reason> {
    let exit = if entry.head.at_egress() {
        Exit::Stack
    } else {
        to_client(entry.next_hop, port, packet.interface())?
    };
    let routed = backend.flags & ROUTED != 0;
    send::<P, F>(packet, segment, entry, partial, exit, routed, port)
}

#[inline(always)]
fn to_backend(backend: &BackendValue, port: &PortValue, interface: u32) -> Result<Exit, Reason> {
    if backend.mac.is_unset() {
        return Ok(Exit::Stack);
    }
    if backend.ifindex == interface {
        return Ok(wire(Action::Back, backend.mac, port.mac));
    }
    if backend.bridge != 0 && backend.bridge == port.bridge {
        return Ok(Exit::Bridge(Aligned(backend.mac)));
    }
    // Answers that pass the stack must find that it has seen the question: it drops them as invalid otherwise.
    if backend.ifindex == 0 || backend.flags & REPLY_AT_EGRESS != 0 {
        return Ok(Exit::Stack);
    }
    let out = port::known(backend.ifindex).ok_or(Reason::Inconsistent)?;
    Ok(wire(Action::Redirect(backend.ifindex), backend.mac, out.mac))
}

#[inline(always)]
fn to_client(hop: u16, port: &PortValue, interface: u32) -> Result<Exit, Reason> {
    let hop = next_hop::get(hop).ok_or(Reason::NextHopUnknown)?;
    if hop.ifindex == interface {
        return Ok(wire(Action::Back, hop.mac(), port.mac));
    }
    let out = port::known(hop.ifindex).ok_or(Reason::NextHopUnknown)?;
    Ok(wire(Action::Redirect(hop.ifindex), hop.mac(), out.mac))
}

#[inline(always)]
fn send<P: Packet, F: Family>(
    packet: &mut P,
    segment: &Segment<F::Address>,
    entry: &FlowEntry<F::Address>,
    partial: bool,
    exit: Exit,
    routed: bool,
    port: &PortValue,
) -> Result<Action, Reason> {
    let leaves = matches!(exit, Exit::Wire(..));
    let hops = if routed && leaves { Some(hop(segment.hops)?) } else { None };
    let rewrite = Rewrite {
        from: segment.key,
        to: FlowKey { protocol: segment.key.protocol, ..entry.rewritten() },
        transport: segment.transport,
        length: segment.length,
        hops,
        sum: sum::plan(packet, segment, port, partial, leaves)?,
    };
    packet.rewrite::<F>(&rewrite)?;
    match exit {
        Exit::Stack => Ok(Action::Pass),
        Exit::Bridge(destination) => packet.store(0, &destination.0).map(|()| Action::Pass),
        Exit::Wire(action, destination, source) => {
            packet.store(0, &destination.0)?;
            packet.store(SOURCE, &source.0).map(|()| action)
        }
    }
}

#[inline(always)]
const fn wire(action: Action, destination: Mac, source: Mac) -> Exit {
    Exit::Wire(action, Aligned(destination), Aligned(source))
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
        to_backend(&backend, &port, HERE).unwrap()
    }

    #[test]
    fn a_backend_on_the_same_interface_goes_back_even_if_bridged() {
        assert_eq!(exit(HERE, 0, BACKEND), wire(Action::Back, BACKEND, PORT));
        assert_eq!(exit(HERE, 9, BACKEND), wire(Action::Back, BACKEND, PORT));
    }

    #[test]
    fn the_own_bridge_delivers_and_the_stack_does_the_rest() {
        assert_eq!(exit(4, 9, BACKEND), Exit::Bridge(Aligned(BACKEND)));
        assert_eq!(exit(0, 0, BACKEND), Exit::Stack);
        assert_eq!(exit(0, 8, BACKEND), Exit::Stack, "another bridge");
        assert_eq!(exit(4, 9, Mac::default()), Exit::Stack, "no neighbour");
    }

    #[test]
    fn a_question_whose_answer_passes_the_stack_passes_it_too() {
        let flags = REPLY_AT_EGRESS | ROUTED;
        let backend = |ifindex| BackendValue { ifindex, flags, mac: BACKEND, ..BackendValue::default() };
        let port = PortValue { mac: PORT, ..PortValue::default() };
        assert_eq!(to_backend(&backend(4), &port, HERE).unwrap(), Exit::Stack);
        assert_eq!(to_backend(&backend(HERE), &port, HERE).unwrap(), wire(Action::Back, BACKEND, PORT));
    }

    #[test]
    fn the_last_hop_is_not_taken() {
        assert_eq!(hop(2), Ok(Hops { before: 2, after: 1 }));
        assert_eq!(hop(1), Err(Reason::TtlExpired));
        assert_eq!(hop(0), Err(Reason::TtlExpired));
    }
}
