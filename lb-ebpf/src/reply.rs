//! A packet from a backend whose flow is known.

use lb_common::port::PortValue;
use lb_common::reason::Reason;

use crate::config::Clock;
use crate::family::Family;
use crate::flow::{self, Hit};
use crate::journey::{Step, addressed_to_us};
use crate::packet::{Hook, Packet};
use crate::parse::{Fragment, Segment};
use crate::rewrite::sum;
use crate::transmit::Taken;
use crate::{backend, transmit};

/// Takes a packet back along its flow, unless that is over and the packet not an answer any more.
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
    let entry = &hit.entry;
    if entry.head.at_egress() != (P::HOOK == Hook::Egress) {
        return Err(Reason::NotOurs);
    }
    addressed_to_us(packet, port)?;
    let Some(backend) = backend::serving(entry.backend) else { return over::<P, F>() };
    if hit.expired(clock) {
        return over::<P, F>();
    }
    let partial = sum::is_partial(packet, segment, port, entry.head.is_partial());
    if segment.fragment == Fragment::None {
        hit.note_partial(partial);
    }
    let due = flow::keep(hit, segment.event, entry.next_hop, clock);
    transmit::reply::<P, F>(packet, segment, entry, Taken { partial, due }, backend, port)
}

#[inline(always)]
fn over<P: Packet, F: Family>() -> Result<Step, Reason> {
    if P::HOOK == Hook::Egress { Err(Reason::NotOurs) } else { Ok(Step::next(F::OPEN)) }
}
