//! The story of a packet.

use lb_common::net::Mac;
use lb_common::port::{PortValue, UPLINK};
use lb_common::reason::Reason;

use crate::config::Clock;
use crate::family::{Family, V4};
use crate::flow::life::Event;
use crate::headers::{ARP, Ethernet, IPV4, IPV6, QINQ, VLAN};
use crate::listener::Listeners as _;
use crate::packet::{Hook, Packet};
use crate::parse::{Fragment, Ip};
use crate::refuse::{self, Refusal};
use crate::verdict::Action;
use crate::{arp, flow, forward, open, parse, port, reply, stats, verdict};

/// A program's stages, each a global function over its context: the verifier checks such a function once, by
/// itself, instead of once for each way in which it is reached.
#[derive(Clone, Copy)]
pub struct Stages<C> {
    /// The fast path: a packet takes its flow.
    pub follow: extern "C" fn(C) -> i32,
    /// The slow path: no live flow takes the packet.
    pub begin: extern "C" fn(C) -> i32,
    /// The slow path's second half: a packet dials a VIP.
    pub dial: extern "C" fn(C) -> i32,
    /// The slow path's end: a packet is refused.
    pub refuse: extern "C" fn(C, i32) -> i32,
}

/// Decides about an incoming packet, changes it accordingly, and gives the program's return value.
///
/// The stages are called one after the other rather than one by the other, and each reads the packet anew:
/// the stack of all functions on the way to an instruction is 512 bytes.
#[inline(always)]
pub fn run<C: Copy>(context: C, stages: Stages<C>) -> i32 {
    let mut code = (stages.follow)(context);
    if code == BEGIN {
        code = (stages.begin)(context);
    }
    if code == DIAL {
        code = (stages.dial)(context);
        if code == BEGUN {
            return (stages.follow)(context);
        }
    }
    if Refusal::numbered(code.wrapping_sub(REFUSE)).is_some() {
        return (stages.refuse)(context, code.wrapping_sub(REFUSE));
    }
    code
}

/// No verdict yet: no live flow takes the packet.
const BEGIN: i32 = i32::MIN;
/// No verdict yet: a flow was entered that takes the packet.
const BEGUN: i32 = i32::MIN + 1;
/// No verdict yet: it dials a VIP.
const DIAL: i32 = i32::MIN + 2;
/// No verdict yet: it is to be refused. The refusal's number is added.
const REFUSE: i32 = i32::MIN + 8;

/// How far a path came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// To the end.
    Done(Action),
    /// To a packet that no live flow takes.
    Begin,
    /// To a VIP.
    Dial,
    /// To a new flow.
    Begun,
    /// To a packet that must be refused.
    Refuse(Refusal),
}

/// The fast path: a packet takes its flow.
#[inline(always)]
pub fn follow<P: Packet>(packet: &mut P) -> i32 {
    let step = arrive(packet);
    settle(packet, step)
}

/// The slow path: no live flow takes the packet. It is read anew, which costs less than keeping at hand what
/// the fast path does not need.
#[inline(always)]
pub fn begin<P: Packet>(packet: &mut P) -> i32 {
    let step = decide::<P, V4>(packet);
    settle(packet, step)
}

/// The slow path's second half: a packet dials a VIP.
#[inline(always)]
pub fn dial<P: Packet>(packet: &mut P) -> i32 {
    let step = open::dial::<P, V4>(packet);
    settle(packet, step)
}

/// The slow path's end: a packet is refused.
#[inline(always)]
pub fn refuse<P: Packet>(packet: &mut P, number: i32) -> i32 {
    let refusal = Refusal::numbered(number).unwrap_or(Refusal::NoListener);
    let outcome = refuse::refuse::<P, V4>(packet, refusal);
    verdict::settle(packet, outcome)
}

#[inline(always)]
fn settle<P: Packet>(packet: &P, step: Result<Step, Reason>) -> i32 {
    match step {
        Ok(Step::Done(action)) => verdict::settle(packet, Ok(action)),
        Ok(Step::Begin) => BEGIN,
        Ok(Step::Dial) => DIAL,
        Ok(Step::Begun) => BEGUN,
        Ok(Step::Refuse(refusal)) => REFUSE + refusal as i32,
        Err(reason) => verdict::settle(packet, Err(reason)),
    }
}

#[inline(always)]
fn arrive<P: Packet>(packet: &mut P) -> Result<Step, Reason> {
    let port = port::attached(packet.interface()).ok_or(Reason::NotOurs)?;
    if packet.tagged() {
        return Err(Reason::VlanTagged);
    }
    match packet.header::<Ethernet>(0).ok_or(Reason::Truncated)?.kind {
        IPV4 => walk::<P, V4>(packet, port),
        ARP if P::HOOK != Hook::Egress => arp::answer(packet, port).map(Step::Done),
        IPV6 => Err(Reason::Ipv6),
        VLAN | QINQ => Err(Reason::VlanTagged),
        _ => Err(Reason::NotOurs),
    }
}

#[inline(always)]
fn walk<P: Packet, F: Family>(packet: &mut P, port: &PortValue) -> Result<Step, Reason> {
    packet.pull(size_of::<F::Front>());
    let ip = F::read(packet.header(0).ok_or(Reason::Truncated)?);
    let clock = Clock::read().ok_or(Reason::NotOurs)?;
    let mut opens = false;
    if let Some(segment) = parse::segment(packet, &ip) {
        if let Some(hit) = flow::lookup(&segment.key, &clock) {
            return if hit.entry.head.is_reply() {
                reply::take::<P, F>(packet, &ip, &segment, &hit, port, &clock)
            } else {
                forward::take::<P, F>(packet, &ip, &segment, &hit, port, &clock)
            };
        }
        opens = segment.event == Event::OPEN;
    }
    if P::HOOK != Hook::Egress && (opens || ip.destination.vip().is_some()) {
        Ok(Step::Begin)
    } else {
        Err(Reason::NotOurs)
    }
}

#[inline(always)]
fn decide<P: Packet, F: Family>(packet: &mut P) -> Result<Step, Reason> {
    let port = port::attached(packet.interface()).ok_or(Reason::NotOurs)?;
    let clock = Clock::read().ok_or(Reason::NotOurs)?;
    let ip = F::read(packet.header(0).ok_or(Reason::Truncated)?);
    let Some(vip) = ip.destination.vip() else {
        yield_to_direct::<P, F>(packet, &ip, &clock);
        return Err(Reason::NotOurs);
    };
    addressed_to_us(packet, port)?;
    if !ip.sound || packet.length() < ip.transport as u32 + u32::from(ip.length) {
        return Err(Reason::Malformed);
    }
    if ip.fragment != Fragment::None {
        return Err(Reason::Fragment);
    }
    match ip.protocol {
        parse::TCP | parse::UDP => match parse::segment(packet, &ip) {
            Some(segment) if segment.is_whole() => {
                if forward::ends::<F>(&segment, &clock) {
                    Ok(Step::Refuse(Refusal::BackendDead))
                } else {
                    Ok(Step::Dial)
                }
            }
            _ => Err(Reason::Malformed),
        },
        number if number == F::CONTROL => F::control(packet, &ip, vip, port).map(Step::Done),
        _ => Err(Reason::ProtocolUnknown),
    }
}

/// A port that faces the network takes only what is sent to its own address.
///
/// # Errors
///
/// `ForeignMac`.
#[inline(always)]
pub fn addressed_to_us<P: Packet>(packet: &P, port: &PortValue) -> Result<(), Reason> {
    if port.flags & UPLINK == 0 || P::HOOK == Hook::Egress {
        return Ok(());
    }
    let destination: &Mac = packet.header(0).ok_or(Reason::Truncated)?;
    if *destination == port.mac { Ok(()) } else { Err(Reason::ForeignMac) }
}

/// A client that dials a backend directly must not be answered in a VIP's name because an old flow has the
/// same tuple.
#[inline(always)]
fn yield_to_direct<P: Packet, F: Family>(packet: &mut P, ip: &Ip<F::Address>, clock: &Clock) {
    if let Some(segment) = parse::segment(packet, ip)
        && segment.event == Event::OPEN
        && let Some(hit) = flow::lookup(&segment.key.reversed(), clock)
        && hit.entry.head.is_reply()
    {
        hit.remove();
        stats::count(Reason::DirectConnection);
    }
}
