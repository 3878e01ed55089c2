//! The story of a packet: each stage of it is a function here.

use lb_common::flow::FlowKey;
use lb_common::net::{Be16, Mac, Protocol};
use lb_common::port::{PortValue, UPLINK};
use lb_common::reason::Reason;
use lb_common::stage::{STAGES, Stage};
use lb_common::vip::{LEASE_PORT, LEASED};

use crate::config::Clock;
use crate::family::{Family, V4, V6};
use crate::flow::Paired;
use crate::flow::life::Event;
use crate::headers::{ARP, Ethernet, IPV4, IPV6, QINQ, VLAN};
use crate::listener::Listeners as _;
use crate::observe::{capture, trace};
use crate::open::Opened;
use crate::packet::{Hook, Packet};
use crate::parse::Ip;
use crate::refuse::{self, Refusal};
use crate::verdict::Action;
use crate::{
    arp, event, flow, forward, icmp_error, open, order, parse, port, reply, stage, stats, transmit, verdict,
    vlan,
};

pub use crate::assembly::{assemble, fragment, join};

/// What a stage returns instead of a verdict: the number of the stage that goes on is added.
const NEXT: i32 = i32::MIN;

/// What is added to a verdict, so that it is not below zero, when the flow of the packet is due for upkeep.
const DUE: i32 = NEXT + 64;
/// What is returned instead of a verdict when it is decided what to do, but not done yet.
const ORDERED: i32 = NEXT + 32;
/// What is returned instead of a verdict when a packet has not got one yet.
pub const GENERAL: i32 = NEXT + 48;
/// What is returned instead of a verdict when the flow of a packet is drafted: the number of a [`Paired`] is added.
const DRAFTED: i32 = NEXT + 96;
/// The greatest verdict and one.
const VERDICTS: i32 = 16;

/// Which stage goes on; `None` for a verdict.
#[inline(always)]
pub fn next(code: i32) -> Option<u32> {
    let stage = code.wrapping_sub(NEXT).cast_unsigned();
    (stage < STAGES).then_some(stage)
}

/// How far a stage came: what it returns. One number, whichever it is: where several would be in it, of which
/// some are not set, the compiler reads them all the same, and the verifier does not have that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step(i32);

impl Step {
    /// To a packet of which it is decided what is to be done.
    pub const ORDERED: Self = Self(ORDERED);

    /// To the end.
    #[inline(always)]
    pub fn done<P: Packet>(packet: &P, action: Action) -> Self {
        Self(packet.verdict(action))
    }

    /// The flow of the packet may be due for upkeep.
    #[inline(always)]
    #[must_use]
    pub const fn due(self, due: bool) -> Self {
        Self(if due { self.0 + 1 + DUE } else { self.0 })
    }

    /// To another stage.
    #[inline(always)]
    pub const fn next(stage: Stage) -> Self {
        Self(NEXT.wrapping_add((stage as u32).cast_signed()))
    }

    /// To a packet whose flow is drafted, and entered so far.
    #[inline(always)]
    pub const fn draft(paired: Paired) -> Self {
        Self(DRAFTED + paired as i32)
    }

    /// The number of a [`Paired`], if this is what [`Step::draft`] gave.
    #[inline(always)]
    pub fn drafted(code: i32) -> Option<u32> {
        let paired = code.wrapping_sub(DRAFTED).cast_unsigned();
        (paired < Paired::NUMBERS).then_some(paired)
    }

    /// As a stage returns it.
    #[inline(always)]
    pub const fn code(self) -> i32 {
        self.0
    }

    /// To a packet that must be refused.
    #[inline(always)]
    pub fn refuse<F: Family>(refusal: Refusal) -> Self {
        stage::tell(refusal.number());
        Self::next(F::REFUSE)
    }
}

/// What a stage returns.
#[inline(always)]
pub fn settle<P: Packet>(packet: &P, step: Result<Step, Reason>) -> i32 {
    match step {
        Ok(step) => step.0,
        Err(reason) => verdict::settle(packet, Err(reason)),
    }
}

/// Carries out what [`follow`] ordered, if it did: the number is what that gave.
#[inline(always)]
pub fn complete<C: Copy>(context: C, code: i32, carry_out: extern "C" fn(C) -> i32) -> i32 {
    if code == ORDERED { carry_out(context) } else { code }
}

/// Carries out what was ordered.
#[inline(always)]
pub fn carry_out<P: Packet>(packet: &mut P) -> i32 {
    let step =
        enter::<P, V6>(packet).and_then(|port| transmit::carry_out::<P, V6>(packet, order::noted()?, port));
    settle(packet, step)
}

/// Looks after the flow of a packet that is done with, if it is due: the number is what [`arrive`], [`tagged`] or
/// [`follow`] gave. They are global functions for the sake of the stack.
#[inline(always)]
pub fn upkeep<F: Family>(code: i32) -> i32 {
    let verdict = code.wrapping_sub(DUE);
    if !(0..=VERDICTS).contains(&verdict) {
        return code;
    }
    flow::upkeep::<F::Address>();
    verdict - 1
}

/// [`Stage::Arrive`].
#[inline(always)]
pub fn arrive<P: Packet>(packet: &mut P) -> i32 {
    capture::arrived(packet);
    let step = receive(packet);
    settle(packet, step)
}

#[inline(always)]
fn receive<P: Packet>(packet: &mut P) -> Result<Step, Reason> {
    let port = port::attached(packet.interface()).ok_or(Reason::NotOurs)?;
    match packet.header::<Ethernet>(0).ok_or(Reason::Truncated)?.kind {
        IPV4 => walk::<P, V4>(packet, port),
        ARP if P::HOOK != Hook::Egress => answered(packet, port),
        IPV6 => Ok(Step::next(Stage::FollowV6)),
        VLAN | QINQ => Ok(Step::next(Stage::Tagged)),
        _ => Err(Reason::NotOurs),
    }
}

#[inline(always)]
fn answered<P: Packet>(packet: &mut P, port: &PortValue) -> Result<Step, Reason> {
    let action = arp::answer(packet, port)?;
    Ok(Step::done(packet, action))
}

/// [`Stage::Tagged`].
#[inline(always)]
pub fn tagged<P: Packet>(packet: &mut P) -> i32 {
    let step = receive_tagged(packet);
    settle(packet, step)
}

#[inline(always)]
fn receive_tagged<P: Packet>(packet: &mut P) -> Result<Step, Reason> {
    let port = port::attached(packet.interface()).ok_or(Reason::NotOurs)?;
    let kind = vlan::enter(packet)?;
    if vlan::exceed(packet) {
        return Err(Reason::VlanTagged);
    }
    match kind {
        IPV4 => walk::<P, V4>(packet, port),
        ARP if P::HOOK != Hook::Egress => answered(packet, port),
        IPV6 => Ok(Step::next(Stage::FollowV6)),
        VLAN | QINQ => Err(Reason::VlanTagged),
        _ => Err(Reason::NotOurs),
    }
}

/// [`Stage::FollowV6`]: what [`Stage::Arrive`] is to IPv4.
#[inline(always)]
pub fn follow<P: Packet, F: Family>(packet: &mut P) -> i32 {
    let step = enter::<P, F>(packet).and_then(|port| walk::<P, F>(packet, port));
    settle(packet, step)
}

/// The first part of [`Stage::OpenV4`] and its like. The parts are global functions, called one after the other:
/// the stack of all functions on the way to an instruction is 512 bytes.
#[inline(always)]
pub fn begin<P: Packet, F: Family>(packet: &mut P) -> i32 {
    let step = decide::<P, F>(packet);
    settle(packet, step)
}

/// The second: the packet dials a VIP, and its flow is drafted.
#[inline(always)]
pub fn dial<P: Packet, F: Family>(packet: &mut P, attempt: u32) -> i32 {
    let step = enter::<P, F>(packet).and_then(|port| open::dial::<P, F>(packet, port, attempt));
    settle(packet, step)
}

/// The parts of [`Stage::OpenV4`] and its like, as global functions.
#[derive(Clone, Copy)]
pub struct Opening<C> {
    /// [`begin`].
    pub begin: extern "C" fn(C) -> i32,
    /// [`dial`].
    pub dial: extern "C" fn(C, u32) -> i32,
    /// [`open::place`].
    pub place: extern "C" fn(u32, u32) -> u32,
}

/// [`Stage::OpenV4`] and its like.
#[inline(always)]
pub fn open<P: Packet, F: Family, C: Copy>(packet: &P, context: C, opening: Opening<C>) -> i32 {
    let code = (opening.begin)(context);
    event::ended::<F::Address>();
    if next(code) != Some(F::OPEN as u32) {
        return code;
    }
    for attempt in 0..open::DRAWS {
        let code = (opening.dial)(context, attempt);
        if next(code) != Some(F::OPEN as u32) {
            return code;
        }
        let step = match Opened::numbered((opening.place)(packet.interface(), flow::pair::<F::Address>())) {
            Opened::Conflict => continue,
            Opened::Entered => {
                event::opened::<F::Address>(packet.interface());
                Ok(Step::next(F::FOLLOW))
            }
            Opened::Joined => Ok(Step::next(F::FOLLOW)),
            Opened::NoPort => Err(Reason::PortsExhausted),
            Opened::Full => Err(Reason::TableFull),
        };
        return settle(packet, step);
    }
    settle(packet, Err(Reason::FlowConflict))
}

/// [`Stage::RefuseV4`] and its like: the stage before told the refusal.
#[inline(always)]
pub fn refuse<P: Packet, F: Family>(packet: &mut P) -> i32 {
    let refusal = Refusal::numbered(stage::told()).unwrap_or(Refusal::NoListener);
    let outcome = enter::<P, F>(packet).and_then(|port| refuse::refuse::<P, F>(packet, refusal, port));
    verdict::settle(packet, outcome)
}

/// [`Stage::ControlV4`] and its like.
#[inline(always)]
pub fn control<P: Packet, F: Family>(packet: &mut P) -> i32 {
    let outcome = enter::<P, F>(packet).and_then(|port| instruct::<P, F>(packet, port));
    verdict::settle(packet, outcome)
}

/// Finds the network header again.
///
/// # Errors
///
/// `Truncated`; `NotOurs` where it is another family's.
#[inline(always)]
pub fn enter<P: Packet, F: Family>(packet: &mut P) -> Result<&'static PortValue, Reason> {
    let port = port::attached(packet.interface()).ok_or(Reason::NotOurs)?;
    if vlan::enter(packet)? == F::KIND { Ok(port) } else { Err(Reason::NotOurs) }
}

/// The fast path: a packet takes its flow.
#[inline(always)]
fn walk<P: Packet, F: Family>(packet: &mut P, port: &PortValue) -> Result<Step, Reason> {
    packet.pull(packet.network() + size_of::<F::Fixed>());
    let ip = F::read(packet.header(packet.network()).ok_or(Reason::Truncated)?, packet.network());
    if !F::is_plain(&ip) {
        return Ok(Step::next(F::FRAGMENT));
    }
    let clock = Clock::read().ok_or(Reason::NotOurs)?;
    let mut opens = false;
    if let Some(segment) = parse::segment(packet, &ip) {
        if let Some(hit) = flow::lookup(&segment.key, &clock) {
            trace::flow(&hit.entry);
            return if hit.entry.head.is_reply() {
                reply::take::<P, F>(packet, &segment, &hit, port, &clock)
            } else {
                forward::take::<P, F>(packet, &segment, &hit, port, &clock)
            };
        }
        opens = segment.event == Event::OPEN;
    }
    if ip.protocol == F::CONTROL {
        return Ok(Step::next(F::CONTROL_STAGE));
    }
    if P::HOOK == Hook::Egress {
        Err(Reason::NotOurs)
    } else if opens || ip.destination.vip().is_some() {
        Ok(Step::next(F::OPEN))
    } else {
        Err(Reason::NotOurs)
    }
}

/// No live flow takes the packet: whose is it? It is read anew, which costs less than keeping at hand what the
/// fast path does not need.
#[inline(always)]
fn decide<P: Packet, F: Family>(packet: &mut P) -> Result<Step, Reason> {
    let port = enter::<P, F>(packet)?;
    let clock = Clock::read().ok_or(Reason::NotOurs)?;
    let ip = parse::ip::<P, F>(packet)?;
    let Some(vip) = ip.destination.vip() else {
        yield_to_direct::<P, F>(packet, &ip, &clock);
        return Err(Reason::NotOurs);
    };
    addressed_to_us(packet, port)?;
    // Nobody is at such an address, and a VIP dials nobody: an answer would go to us, or to everybody.
    if !F::answerable(ip.source) || ip.source.vip().is_some() {
        return Err(Reason::ForeignSource);
    }
    if !ip.sound || packet.length() < ip.transport as u32 + u32::from(ip.length) {
        return Err(Reason::Malformed);
    }
    if !matches!(ip.protocol, parse::TCP | parse::UDP) {
        return Err(Reason::ProtocolUnknown);
    }
    match parse::segment(packet, &ip) {
        Some(segment) if segment.is_whole() => {
            if vip.flags & LEASED != 0 && is_for_lease(&segment.key) {
                return Err(Reason::NotOurs);
            }
            let refusal = forward::ends::<F>(&segment, &clock);
            Ok(refusal.map_or_else(|| Step::next(F::OPEN), Step::refuse::<F>))
        }
        _ => Err(Reason::Malformed),
    }
}

/// Does a DHCP server answer a client here? It is before any listener: a range may have the port.
#[inline(always)]
pub fn is_for_lease<A>(key: &FlowKey<A>) -> bool {
    key.protocol == Protocol::Udp && key.destination_port == Be16::new(LEASE_PORT)
}

/// Takes a control message.
#[inline(always)]
fn instruct<P: Packet, F: Family>(packet: &mut P, port: &PortValue) -> Result<Action, Reason> {
    packet.pull(packet.network() + size_of::<F::Fixed>());
    let ip = F::read(packet.header(packet.network()).ok_or(Reason::Truncated)?, packet.network());
    packet.pull(ip.transport + size_of::<Be16>());
    if packet.header(ip.transport).is_some_and(|&Be16([kind, _])| F::is_error(kind)) {
        icmp_error::take::<P, F>(packet, &ip, port)
    } else {
        inform::<P, F>(packet, &ip, port)
    }
}

/// Takes a control message that is no error: for the sake of the stack, a function of its own.
#[inline(never)]
fn inform<P: Packet, F: Family>(
    packet: &mut P,
    ip: &Ip<F::Address>,
    port: &PortValue,
) -> Result<Action, Reason> {
    F::control(packet, ip, port)
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
