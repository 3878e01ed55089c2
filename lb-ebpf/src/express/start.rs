//! The first packet of a flow: a TCP SYN or a datagram to a VIP. [`super::take`] found that it is simple, that it is no
//! fragment, and that no flow takes it, or that none is likely to.

use lb_common::config::EVENTS_WANTED;
use lb_common::flow::FlowKey;
use lb_common::known::{Settings, place_v4};
use lb_common::listener::ListenerValue;
use lb_common::net::{Be16, Ipv4, Protocol};
use lb_common::port::{ACCOUNTED, PortValue};
use lb_common::reason::Reason;
use lb_common::stage::Stage;
use lb_common::words::Words;
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use super::way::Traveller;
use super::{Taken, is_addressed, looks_partial};
use crate::config::{self, Clock};
use crate::family::{Family as _, V4};
use crate::flow::{Paired, Set};
use crate::headers::{Ethernet, Plain};
use crate::journey::{self, Step};
use crate::listener::Listeners as _;
use crate::open::{self, DRAWS, Opened};
use crate::packet::Packet;
use crate::parse::TCP;
use crate::rewrite::sum;
use crate::{event, flow, listener, policy, port, select, stats};

/// After so many datagrams that began flows, on average, the next ones are taken to do so as well, until one does not: its way
/// is the longer one.
const SURE: u32 = 32;

/// To the journey, which finds its flow, if it has one. By the stage of tagged packets, which takes any: from that where
/// packets arrive it would come back here.
const LEFT: Step = Step::next(Stage::Tagged);

/// The parts of [`Stage::StartV4`], as global functions for the sake of the stack.
#[derive(Clone, Copy)]
pub struct Starting<C> {
    /// [`begin`].
    pub begin: extern "C" fn(C, u32) -> i32,
    /// [`open::place`].
    pub place: extern "C" fn(u32, u32) -> u32,
}

/// Begins the flow of a packet and sends it on, or leaves both to the journey. Where [`begin`] is not through with the
/// flow, it goes on as [`journey::open`] does.
#[inline(always)]
pub fn start<P: Packet, C: Copy>(packet: &P, context: C, starting: Starting<C>) -> i32 {
    for attempt in 0..DRAWS {
        let code = (starting.begin)(context, attempt);
        let Some(paired) = Step::drafted(code) else { return code };
        let step = match Opened::numbered((starting.place)(packet.interface(), paired)) {
            Opened::Conflict => continue,
            Opened::Entered => {
                event::opened::<Ipv4>(packet.interface());
                Ok(LEFT)
            }
            Opened::Joined => Ok(LEFT),
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
    dial(packet, attempt).unwrap_or_else(|| {
        // It was no first datagram, or none that is taken here: the next ones are looked up.
        if let Some(known) = config::known() {
            config::note_fresh(known, false);
        }
        LEFT.code()
    })
}

/// `None` where it is not plain, or may have a flow.
#[inline(always)]
fn dial<P: Packet>(packet: &mut P, attempt: u32) -> Option<i32> {
    let (port, known) = (port::attached(packet.interface())?, config::known()?);
    let front = packet.front()?;
    // SAFETY: nothing writes to the packet before it is sent on its way, where this is not looked at again.
    let plain = unsafe { front.as_ref() };
    if !is_plain(packet, plain, port, known) {
        return None;
    }
    let key = key(plain);
    let config = &known.config;
    let there = Set::of(&key, config)?;
    if journey::is_for_lease(&key) {
        return None;
    }
    let listener = listener::dialled(&key).filter(|listener| listener.slots != 0)?;
    let clock = Clock { config, tick: Clock::tick(config) };
    let hash = select::hash(&listener, &key, &clock);
    // What nobody takes, the journey refuses, unless it has a flow.
    let Ok(Some(chosen)) = select::choose(&listener, key.source, hash, attempt) else { return None };
    if let Err(reason) = open::draft(&open::entry::<P, V4>(packet, &key, false, chosen, &clock), &listener) {
        return Some(journey::settle(packet, Err(reason)));
    }
    // Read back, it is any entry to the verifier, which else follows each that it could be.
    let draft = flow::draft()?;
    let entry = draft.copy();
    // Both at once: they are in no cache when flows are many, and to wait for one takes as long as for two.
    let back = Set::of(&entry.twin().key(), config)?.fetch();
    there.fetch();
    if key.destination.vip().is_none() || there.may_know(&entry) {
        return None;
    }
    if let Err(reason) = admit(&key, &listener, &clock, attempt) {
        return Some(journey::settle(packet, Err(reason)));
    }
    draft.set_next_hop(open::next_hop(packet, entry.head));
    let entry = draft.copy();
    sum::begins_full(packet, port);
    let is_told = port.flags & ACCOUNTED != 0 || config.flags & EVENTS_WANTED != 0;
    let paired = if is_told { Paired::Neither } else { flow::enter(&entry, (there, back), clock.tick) };
    if paired != Paired::Both {
        return Some(Step::draft(paired).code());
    }
    if plain.protocol != TCP && (hash ^ u32::from(key.source_port.get())).is_multiple_of(SURE) {
        config::note_fresh(known, true);
    }
    open::note(&entry, chosen.1, select::habit(&listener), port, packet.interface());
    let half = Words::from(&entry);
    let traveller = Traveller { half: &half, backend: chosen.1, port, front, length: plain.total.get() };
    Some(match traveller.inwards(packet) {
        Taken::LEFT => LEFT.code(),
        Taken::Through(code) | Taken::Step(code) => code,
    })
}

/// May its client begin a flow? Who is tried again with another backend was told before.
#[inline(always)]
fn admit(key: &FlowKey<Ipv4>, listener: &ListenerValue, clock: &Clock, attempt: u32) -> Result<(), Reason> {
    if attempt != 0 {
        return Ok(());
    }
    policy::admit(key, listener)
        .and_then(|()| policy::flow_granted(key, listener, clock))
        .inspect_err(|_| stats::refused(listener.index))
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
