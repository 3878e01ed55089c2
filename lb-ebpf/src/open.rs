//! A packet to a VIP that belongs to no flow yet.

use lb_common::backend::{BackendRef, BackendValue, MASQUERADE, REPLY_AT_EGRESS};
use lb_common::flow::{Flow, FlowEntry, FlowKey};
use lb_common::head::{Head, Kind, State};
use lb_common::listener::{ListenerValue, STRICT};
use lb_common::net::{Be16, Ipv4, Ipv6, Protocol};
use lb_common::observe::Code;
use lb_common::port::{PortValue, UPLINK};
use lb_common::reason::Reason;
use lb_common::vip::DROP_UNSERVED;

use crate::config::Clock;
use crate::family::Family;
use crate::flow::life::Event;
use crate::flow::slot::Slot;
use crate::flow::{self, Flows, Insertion, Paired};
use crate::journey::Step;
use crate::listener::Listeners as _;
use crate::observe::trace;
use crate::packet::Packet;
use crate::refuse::Refusal;
use crate::rewrite::sum;
use crate::select::affinity::Affine;
use crate::{backend, forward, listener, parse, policy, port, select, stage, stats};

/// Draws of a backend before a flow is given up: of two backends, both are among them 127 of 128 times.
pub const DRAWS: u32 = 8;

/// Source ports that are tried for one backend where the port may change: another CPU may be quicker to take
/// what was free.
const SOURCE_PORTS: u32 = 3;

/// Finds a backend for it, the `attempt`-th that its hash leads to, and drafts the flow; or refuses it. The
/// packet was found to be a whole segment to a VIP; it is read anew, as keeping it at hand would take more of
/// the stack than there is.
///
/// # Errors
///
/// Why it is neither.
#[inline(always)]
pub fn dial<P: Packet, F: Family>(packet: &mut P, port: &PortValue, attempt: u32) -> Result<Step, Reason> {
    let clock = &Clock::read().ok_or(Reason::NotOurs)?;
    let ip = parse::ip::<P, F>(packet)?;
    let vip = ip.destination.vip().ok_or(Reason::NotOurs)?;
    let Some(segment) = &parse::segment(packet, &ip) else { return Err(Reason::Malformed) };
    let Some(listener) = listener::dialled(&segment.key) else {
        let drop = vip.flags & DROP_UNSERVED != 0;
        return if drop {
            Err(Reason::NoListenerDropped)
        } else {
            Ok(Step::refuse::<F>(Refusal::NoListener))
        };
    };
    trace::note(Code::Listener, listener.index, listener.slots);
    // A client that is tried again with another backend was granted its flow before.
    if attempt == 0
        && let Err(reason) = policy::admit(&segment.key, &listener)
    {
        stats::refused(listener.index);
        return Err(reason);
    }
    let drop = (vip.flags | listener.flags) & DROP_UNSERVED != 0;
    let begins = segment.key.protocol == Protocol::Udp || segment.event == Event::OPEN;
    if listener.flags & STRICT != 0 && !begins {
        stats::refused(listener.index);
        return if drop { Err(Reason::NotOpened) } else { Ok(Step::refuse::<F>(Refusal::NotOpened)) };
    }
    // A RST without a flow has nothing to reset.
    if listener.slots != 0 && segment.event != Event::RESET {
        let key = &segment.key;
        if attempt == 0
            && let Err(reason) = policy::flow_granted(key, &listener, clock)
        {
            stats::refused(listener.index);
            return Err(reason);
        }
        let hash = select::hash(&listener, key, clock);
        if let Some((id, backend)) = select::choose(&listener, key.source, hash, attempt)? {
            trace::note(Code::Backend, id.id(), attempt);
            let partial = sum::begins_partial(packet, segment, port);
            let entry = entry::<P, F>(packet, key, partial, (id, backend), clock);
            draft(&FlowEntry { next_hop: next_hop(packet, entry.head), ..entry }, &listener)?;
            return Ok(Step::next(F::OPEN));
        }
    }
    stats::refused(listener.index);
    if drop { Err(Reason::NoBackendDropped) } else { Ok(Step::refuse::<F>(Refusal::NoBackend)) }
}

/// Drafts a flow to a backend of a listener by its forward half, for [`place`].
///
/// # Errors
///
/// `Inconsistent`: there is no room for a draft.
#[inline(always)]
pub fn draft<A: Flows>(entry: &FlowEntry<A>, listener: &ListenerValue) -> Result<(), Reason> {
    stage::tell(select::habit(listener));
    flow::draft().ok_or(Reason::Inconsistent)?.write(entry);
    Ok(())
}

/// Where the answers of a flow go that this packet begins. Who may begin none must not be learned.
#[inline(always)]
pub fn next_hop<P: Packet>(packet: &P, head: Head) -> u16 {
    if head.at_egress() { 0 } else { forward::learn(packet) }
}

/// The forward half of a flow to a backend, without its next hop. `partial`: its first packet leaves its checksum to a device.
#[inline(always)]
pub fn entry<P: Packet, F: Family>(
    packet: &P,
    key: &FlowKey<F::Address>,
    partial: bool,
    (id, backend): (BackendRef, &BackendValue),
    clock: &Clock,
) -> FlowEntry<F::Address> {
    let masquerade = backend.flags & MASQUERADE != 0 || backend.ifindex == packet.interface();
    let at_egress = !masquerade && backend.flags & REPLY_AT_EGRESS != 0;
    let port_kept = backend.port == Be16::default();
    FlowEntry::new(
        &Flow {
            key: *key,
            kind: Kind { state: State::Opening, reply: false, masquerade, at_egress, partial },
            address: F::backend(backend),
            source_port: key.source_port,
            destination_port: if port_kept { key.destination_port } else { backend.port },
            backend: id,
            next_hop: 0,
            last_seen: clock.tick,
        },
        Head::default(),
    )
}

/// What came of entering a drafted flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Opened {
    /// Its packets take it.
    Entered = 0,
    /// Its answers' tuple is another live flow's.
    Conflict = 1,
    /// No source port is free.
    NoPort = 2,
    /// There is no room.
    Full = 3,
    /// Another CPU entered a flow for its tuple, which its packets take.
    Joined = 4,
}

impl Opened {
    /// The inverse of `as u32`.
    #[inline(always)]
    pub const fn numbered(number: u32) -> Self {
        match number {
            0 => Self::Entered,
            1 => Self::Conflict,
            2 => Self::NoPort,
            4 => Self::Joined,
            _ => Self::Full,
        }
    }
}

/// Enters both halves of the drafted flow, which came in by `interface`, as far as [`flow::pair()`] has not.
#[inline(always)]
pub fn place<A: Flows + Affine>(interface: u32, paired: Paired) -> Opened {
    let Some(draft) = flow::draft::<A>() else { return Opened::Full };
    if paired == Paired::Neither
        && let Some(opened) = answer(draft)
    {
        return opened;
    }
    let forward = match paired {
        Paired::Both => Insertion::Entered,
        Paired::Taken => Insertion::Taken,
        Paired::Answers | Paired::Neither => flow::insert_drafted::<A>(true),
    };
    if forward == Insertion::Entered {
        return opened(&draft.copy(), interface);
    }
    withdraw(draft);
    // Where another CPU was quicker with the same packet's sibling, its flow stands.
    if forward == Insertion::Taken { Opened::Joined } else { Opened::Full }
}

/// Enters the reply half; gives why it does not stand.
#[inline(always)]
fn answer<A: Flows>(draft: Slot<A>) -> Option<Opened> {
    for _ in 0..SOURCE_PORTS {
        let masqueraded = draft.head().is_masqueraded();
        if masqueraded {
            let Some(source_port) = flow::source_port::free::<A>() else { return Some(Opened::NoPort) };
            draft.set_source_port(source_port);
        }
        match flow::insert_drafted::<A>(false) {
            Insertion::Entered => return None,
            Insertion::Full => return Some(Opened::Full),
            Insertion::Taken if !masqueraded => return Some(Opened::Conflict),
            Insertion::Taken => {}
        }
    }
    Some(Opened::NoPort)
}

/// Takes note of a flow both halves of which stand.
#[inline(always)]
fn opened<A: Flows + Affine>(entry: &FlowEntry<A>, interface: u32) -> Opened {
    if let (Some(backend), Some(port)) = (backend::serving(entry.backend), port::attached(interface)) {
        note(entry, backend, stage::told(), port, interface);
    }
    Opened::Entered
}

/// Takes note of a flow to a backend whose listener has this [`select::habit`].
#[inline(always)]
pub fn note<A: Affine>(
    entry: &FlowEntry<A>,
    backend: &BackendValue,
    habit: u32,
    port: &PortValue,
    interface: u32,
) {
    stats::flow(entry.backend);
    select::note(backend.listener, habit, entry.source, entry.backend);
    if backend.ifindex == interface && port.flags & UPLINK == 0 {
        stats::count(Reason::Hairpin);
    }
}

/// Takes back the reply half.
#[inline(always)]
fn withdraw<A: Flows>(draft: Slot<A>) {
    if let Some(clock) = Clock::read()
        && let Some(own) = flow::lookup(&draft.copy().rewritten().reversed(), &clock)
    {
        own.remove();
    }
}

macro_rules! global {
    ($name:ident: $address:ty) => {
        /// [`place`], whose number it gives, and which is given that of a [`Paired`]: a global function, which the verifier checks once, by itself.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(interface: u32, paired: u32) -> u32 {
            let opened = place::<$address>(interface, Paired::numbered(paired)) as u32;
            trace::note(Code::Entered, opened, 0);
            opened
        }
    };
}

global!(lb_place_v4: Ipv4);
global!(lb_place_v6: Ipv6);
