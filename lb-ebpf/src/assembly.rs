//! The story of a packet that is not told by its fixed header alone: a fragment, or one with extension headers.

use lb_common::port::PortValue;
use lb_common::reason::Reason;

use crate::config::Clock;
use crate::family::Family;
use crate::flow::life::Event;
use crate::journey::{Step, enter, next, settle};
use crate::listener::Listeners as _;
use crate::packet::{Hook, Packet};
use crate::parse::Fragment;
use crate::{flow, forward, fragment, reply};

/// [`Stage::FragmentV4`](lb_common::stage::Stage::FragmentV4) and its like: as
/// [`Stage::Arrive`](lb_common::stage::Stage::Arrive), for what is not [`Family::is_plain`]. Its parts are
/// given as global functions; the number is as that of [`follow`](crate::journey::follow).
#[inline(always)]
pub fn fragment<F: Family, C: Copy>(
    context: C,
    assemble: extern "C" fn(C) -> i32,
    join: extern "C" fn(C) -> i32,
) -> i32 {
    let code = assemble(context);
    if next(code) == Some(F::FRAGMENT as u32) { join(context) } else { code }
}

/// The first part: the segment that the packet is part of is found and noted.
#[inline(always)]
pub fn assemble<P: Packet, F: Family>(packet: &mut P) -> i32 {
    let step = enter::<P, F>(packet).and_then(|_| find_segment::<P, F>(packet));
    settle(packet, step)
}

#[inline(always)]
fn find_segment<P: Packet, F: Family>(packet: &mut P) -> Result<Step, Reason> {
    packet.pull(packet.network() + size_of::<F::Fixed>());
    let ip = F::read(packet.header(packet.network()).ok_or(Reason::Truncated)?, packet.network());
    let ours = concerns::<P, F>(ip.destination);
    let whose = |reason| if ours { reason } else { Reason::NotOurs };
    let ip = F::locate(packet, ip).ok_or(whose(Reason::ExtensionHeaders))?;
    let clock = Clock::read().ok_or(Reason::NotOurs)?;
    let segment = fragment::segment(packet, &ip, &clock).map_err(whose)?;
    fragment::note(&ip, &segment, &clock).ok_or(Reason::Inconsistent)?;
    Ok(Step::next(F::FRAGMENT))
}

/// The second part: the packet takes the segment's flow.
#[inline(always)]
pub fn join<P: Packet, F: Family>(packet: &mut P) -> i32 {
    let step = enter::<P, F>(packet).and_then(|port| take_noted::<P, F>(packet, port));
    settle(packet, step)
}

#[inline(always)]
fn take_noted<P: Packet, F: Family>(packet: &mut P, port: &PortValue) -> Result<Step, Reason> {
    let note = fragment::noted::<F::Address>().ok_or(Reason::Inconsistent)?;
    let (segment, clock) = (&note.segment, Clock::read().ok_or(Reason::NotOurs)?);
    let later = segment.fragment == Fragment::Later;
    if let Some(hit) = flow::lookup(&segment.key, &clock) {
        fragment::remember(note);
        let step = if hit.entry.head.is_reply() {
            reply::take::<P, F>(packet, segment, &hit, port, &clock)?
        } else {
            forward::take::<P, F>(packet, segment, &hit, port, &clock)?
        };
        if !later || step != Step::next(F::OPEN) {
            return Ok(step);
        }
    }
    let ours = concerns::<P, F>(segment.key.destination);
    if later {
        Err(if ours { Reason::FragmentUnknown } else { Reason::NotOurs })
    } else if ours || P::HOOK != Hook::Egress && segment.event == Event::OPEN {
        Ok(Step::next(F::OPEN))
    } else {
        Err(Reason::NotOurs)
    }
}

/// Does it enter the node for a VIP?
#[inline(always)]
fn concerns<P: Packet, F: Family>(destination: F::Address) -> bool {
    P::HOOK != Hook::Egress && destination.vip().is_some()
}
