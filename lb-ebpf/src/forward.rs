//! A packet from a client whose flow is known.

use lb_common::head::State;
use lb_common::net::Protocol;
use lb_common::port::PortValue;
use lb_common::reason::Reason;

use crate::config::Clock;
use crate::family::Family;
use crate::flow::life::Event;
use crate::flow::{self, Hit};
use crate::headers::Ethernet;
use crate::journey::{Step, addressed_to_us};
use crate::packet::{Hook, Packet};
use crate::parse::{Fragment, Segment};
use crate::refuse::Refusal;
use crate::rewrite::sum;
use crate::transmit::Taken;
use crate::{backend, event, next_hop, policy, stats, transmit, vlan};

/// Takes a packet along its flow, unless that is over.
///
/// # Errors
///
/// Why it can't be sent on.
#[inline(always)]
pub fn take<P: Packet, F: Family>(
    packet: &mut P,
    segment: &Segment<F::Address>,
    hit: &Hit<F::Address>,
    port: &PortValue,
    clock: &Clock,
) -> Result<Step, Reason> {
    if P::HOOK == Hook::Egress {
        return Err(Reason::NotOurs);
    }
    addressed_to_us(packet, port)?;
    if hit.reopened(segment.event) || hit.expired(clock) {
        return Ok(Step::next(F::OPEN));
    }
    let entry = &hit.entry;
    let Some(backend) = backend::serving(entry.backend) else { return Ok(Step::next(F::OPEN)) };
    if let Err(reason) = policy::packet_granted(segment.key.source, backend) {
        stats::refused(backend.listener);
        return Err(reason);
    }
    let partial = sum::is_partial(packet, segment, port, entry.head.is_partial());
    if segment.fragment == Fragment::None {
        hit.note_partial(partial);
    }
    let learns = hit.is_due(clock) && !entry.head.at_egress();
    let next_hop = if learns { learn(packet) } else { entry.next_hop };
    let due = flow::keep(hit, segment.event, next_hop, clock);
    transmit::forward::<P, F>(packet, segment, entry, Taken { partial, due }, backend, port)
}

/// Where the packet comes from, as an index into NEXT_HOPS.
#[inline(always)]
pub fn learn<P: Packet>(packet: &P) -> u16 {
    packet
        .header::<Ethernet>(0)
        .map_or(0, |ethernet| next_hop::learn(ethernet.source, packet.interface(), vlan::of(packet)))
}

/// Removes a flow that is over, unless what belongs to it can't begin anew: its backend is dead, and a
/// connection to it must be reset for the client to dial again at once. Then it gives the refusal, and marks
/// the flow as closing.
#[inline(always)]
pub fn ends<F: Family>(segment: &Segment<F::Address>, clock: &Clock) -> Option<Refusal> {
    let hit = flow::lookup(&segment.key, clock).filter(|hit| !hit.entry.head.is_reply())?;
    if !hit.expired(clock) && !backend::serves(hit.entry.backend) {
        if segment.key.protocol == Protocol::Tcp && segment.event != Event::OPEN {
            let is_told = hit.entry.head.state() == State::Closing;
            hit.enter(State::Closing as u8);
            if !is_told {
                event::ends(&hit);
            }
            return Some(if is_told { Refusal::BackendGone } else { Refusal::BackendDead });
        }
        stats::count(Reason::Reselected);
    }
    if hit.entry.head.state() != State::Closing {
        event::ends(&hit);
    }
    hit.remove();
    None
}
