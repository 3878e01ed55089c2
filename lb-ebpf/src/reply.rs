//! A packet from a backend whose flow is known.

use lb_common::port::PortValue;
use lb_common::reason::Reason;

use crate::config::Clock;
use crate::family::Family;
use crate::flow::{self, Hit};
use crate::journey::{Step, addressed_to_us};
use crate::packet::{Hook, Packet};
use crate::parse::{Fragment, Ip, Segment};
use crate::rewrite::sum;
use crate::{backend, stats, transmit};

/// Takes a packet back along its flow, unless that is over and the packet not an answer any more.
///
/// # Errors
///
/// Why it can't be sent on.
#[inline(always)]
pub fn take<P: Packet, F: Family>(
    packet: &mut P,
    ip: &Ip<F::Address>,
    segment: &Segment<F::Address>,
    hit: &Hit<F::Address>,
    port: &PortValue,
    clock: &Clock,
) -> Result<Step, Reason> {
    let entry = &hit.entry;
    if entry.head.at_egress() != (P::HOOK == Hook::Egress) {
        return Err(Reason::NotOurs);
    }
    addressed_to_us(packet, port)?;
    let Some(backend) = backend::serving(entry.backend) else { return over(packet) };
    if hit.expired(clock) {
        return over(packet);
    }
    if ip.fragment != Fragment::None {
        return Err(Reason::Fragment);
    }
    let partial = sum::is_partial(packet, segment, port, entry.head.is_partial());
    hit.note_partial(partial);
    flow::keep(hit, segment.event, entry.next_hop, clock);
    let bytes = packet.bytes(segment.end());
    let action = transmit::reply::<P, F>(packet, segment, entry, partial, backend, port)?;
    stats::packet(entry.backend, backend.listener, true, bytes);
    Ok(Step::Done(action))
}

#[inline(always)]
fn over<P: Packet>(_packet: &P) -> Result<Step, Reason> {
    if P::HOOK == Hook::Egress { Err(Reason::NotOurs) } else { Ok(Step::Begin) }
}
