//! The first packet of a flow: a TCP SYN or a datagram to a VIP. [`super::take`] found that it is simple, that it is no
//! fragment, and that no flow takes it.

use lb_common::config::EVENTS_WANTED;
use lb_common::flow::FlowKey;
use lb_common::known::{Settings, place_v4};
use lb_common::net::{Be16, Ipv4, Protocol};
use lb_common::port::{ACCOUNTED, PortValue};
use lb_common::reason::Reason;
use lb_common::stage::Stage;
use lb_common::vip::{DROP_UNSERVED, LEASED};
use lb_common::words::Words;
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use super::way::Traveller;
use super::{Taken, is_addressed, looks_partial};
use crate::config::{self, Clock};
use crate::family::{Family as _, V4};
use crate::flow::Paired;
use crate::headers::{Ethernet, Plain};
use crate::journey::{self, Step};
use crate::listener::Listeners as _;
use crate::open::{self, DRAWS, Opened};
use crate::packet::Packet;
use crate::parse::TCP;
use crate::refuse::Refusal;
use crate::rewrite::sum;
use crate::{event, flow, listener, policy, port, select, stats};

/// To the journey, which looks at it with care.
const LEFT: Step = Step::next(Stage::OpenV4);
/// To the journey, to take its flow.
const FOLLOW: Step = Step::next(V4::FOLLOW);

/// The parts of [`Stage::StartV4`], as global functions for the sake of the stack.
#[derive(Clone, Copy)]
pub struct Starting<C> {
    /// [`begin`].
    pub begin: extern "C" fn(C, u32) -> i32,
    /// [`open::place`].
    pub place: extern "C" fn(u32, u32) -> u32,
}

/// Begins the flow of a packet and sends it on, or leaves both. Where [`begin`] is not through with the flow, it goes on as
/// [`journey::open`] does.
#[inline(always)]
pub fn start<P: Packet, C: Copy>(packet: &P, context: C, starting: Starting<C>) -> i32 {
    for attempt in 0..DRAWS {
        let code = (starting.begin)(context, attempt);
        let Some(paired) = Step::drafted(code) else { return code };
        let step = match Opened::numbered((starting.place)(packet.interface(), paired)) {
            Opened::Conflict => continue,
            Opened::Entered => {
                event::opened::<Ipv4>(packet.interface());
                Ok(FOLLOW)
            }
            Opened::Joined => Ok(FOLLOW),
            Opened::NoPort => Err(Reason::PortsExhausted),
            Opened::Full => Err(Reason::TableFull),
        };
        return journey::settle(packet, step);
    }
    journey::settle(packet, Err(Reason::FlowConflict))
}

/// Begins the flow with the `attempt`-th backend that its hash leads to.
#[inline(always)]
pub fn begin<P: Packet>(packet: &mut P, attempt: u32) -> i32 {
    match dial(packet, attempt) {
        Some(Ok(Taken::Through(code) | Taken::Step(code))) => code,
        Some(Err(reason)) => journey::settle(packet, Err(reason)),
        None => LEFT.code(),
    }
}

/// `None` where it is not plain.
#[inline(always)]
fn dial<P: Packet>(packet: &mut P, attempt: u32) -> Option<Result<Taken, Reason>> {
    let (port, known) = (port::attached(packet.interface())?, config::known()?);
    let front = packet.front()?;
    // SAFETY: nothing writes to the packet before it is sent on its way, where this is not looked at again.
    let plain = unsafe { front.as_ref() };
    if !is_plain(packet, plain, port, known) {
        return None;
    }
    let key = key(plain);
    let vip = key.destination.vip()?;
    if vip.flags & LEASED != 0 && journey::is_for_lease(&key) {
        return None;
    }
    let listener = listener::dialled(&key).filter(|listener| listener.slots != 0)?;
    sum::begins_full(packet, port);
    let clock = Clock { config: &known.config, tick: Clock::tick(&known.config) };
    // A client that is tried again with another backend was granted its flow before.
    if attempt == 0
        && let Err(reason) =
            policy::admit(&key, &listener).and_then(|()| policy::flow_granted(&key, &listener, &clock))
    {
        stats::refused(listener.index);
        return Some(Err(reason));
    }
    let hash = select::hash(&listener, &key, &clock);
    let chosen = match select::choose(&listener, key.source, hash, attempt) {
        Ok(Some(chosen)) => chosen,
        Ok(None) => {
            stats::refused(listener.index);
            let drop = (vip.flags | listener.flags) & DROP_UNSERVED != 0;
            return Some(if drop { Err(Reason::NoBackendDropped) } else { Ok(refused()) });
        }
        Err(reason) => return Some(Err(reason)),
    };
    if let Err(reason) = open::draft(&open::entry::<P, V4>(packet, &key, false, chosen, &clock), &listener) {
        return Some(Err(reason));
    }
    // Read back, it is any entry to the verifier, which else follows each that it could be.
    let entry = flow::draft()?.copy();
    let is_told = port.flags & ACCOUNTED != 0 || known.config.flags & EVENTS_WANTED != 0;
    let paired = if is_told { Paired::Neither } else { flow::enter(&entry, &clock) };
    if paired != Paired::Both {
        return Some(Ok(Taken::Step(Step::draft(paired).code())));
    }
    open::note(&entry, chosen.1, select::habit(&listener), port, packet.interface());
    let half = Words::from(&entry);
    let traveller = Traveller { half: &half, backend: chosen.1, port, front, length: plain.total.get() };
    Some(Ok(match traveller.inwards(packet) {
        Taken::LEFT => Taken::Step(FOLLOW.code()),
        taken @ (Taken::Through(_) | Taken::Step(_)) => taken,
    }))
}

#[inline(always)]
fn refused() -> Taken {
    Taken::Step(Step::refuse::<V4>(Refusal::NoBackend).code())
}

/// Is it an ordinary packet that is addressed to us, as long as it says, with a checksum that is finished, and from
/// somebody who is neither VIP nor backend?
#[inline(always)]
fn is_plain<P: Packet>(packet: &P, plain: &Plain, port: &PortValue, known: &Settings) -> bool {
    let length = plain.total.get();
    let header = if plain.protocol == TCP { size_of::<TcpHdr>() } else { size_of::<UdpHdr>() };
    let source = plain.addresses() as u32;
    is_addressed::<P>(plain, port)
        && length >= Plain::IP + header as u16
        && packet.length() >= size_of::<Ethernet>() as u32 + u32::from(length)
        && V4::answerable(Ipv4(source.to_ne_bytes()))
        && !known.knows(place_v4(source))
        && !(sum::may_be_partial::<P>(port) && looks_partial(plain))
}

#[inline(always)]
fn key(plain: &Plain) -> FlowKey<Ipv4> {
    let ports = plain.ports();
    FlowKey {
        source: Ipv4((plain.addresses() as u32).to_ne_bytes()),
        destination: plain.destination(),
        source_port: Be16::from_raw(ports as u16),
        destination_port: Be16::from_raw((ports >> 16) as u16),
        protocol: if plain.protocol == TCP { Protocol::Tcp } else { Protocol::Udp },
    }
}
