//! A packet to a VIP that belongs to no flow yet.

use lb_common::backend::{BackendRef, BackendValue, MASQUERADE, REPLY_AT_EGRESS};
use lb_common::flow::{Flow, FlowEntry};
use lb_common::head::{Head, Kind, State};
use lb_common::listener::ListenerValue;
use lb_common::port::{PortValue, UPLINK};
use lb_common::reason::Reason;
use lb_common::vip::DROP_UNSERVED;

use crate::config::Clock;
use crate::family::Family;
use crate::flow::life::Event;
use crate::flow::slot::Slot;
use crate::flow::{self, Insertion};
use crate::journey::Step;
use crate::listener::Listeners as _;
use crate::packet::Packet;
use crate::parse::Segment;
use crate::refuse::Refusal;
use crate::rewrite::sum;
use crate::{backend, forward, listener, parse, port, select, stats};

/// Finds a backend for it and enters the flow; or refuses it. The packet was found to be a whole segment to a
/// VIP; it is read anew, as keeping it at hand would take more of the stack than there is.
///
/// # Errors
///
/// Why it is neither.
#[inline(always)]
pub fn dial<P: Packet, F: Family>(packet: &mut P) -> Result<Step, Reason> {
    let port = port::attached(packet.interface()).ok_or(Reason::NotOurs)?;
    let clock = &Clock::read().ok_or(Reason::NotOurs)?;
    let ip = F::read(packet.header(0).ok_or(Reason::Truncated)?);
    let vip = ip.destination.vip().ok_or(Reason::NotOurs)?;
    let Some(segment) = &parse::segment(packet, &ip) else { return Err(Reason::Malformed) };
    let Some(listener) = listener::dialled(&segment.key) else {
        let drop = vip.flags & DROP_UNSERVED != 0;
        return if drop { Err(Reason::NoListenerDropped) } else { Ok(Step::Refuse(Refusal::NoListener)) };
    };
    // A RST without a flow has nothing to reset.
    let opened = if listener.slots == 0 || segment.event == Event::RESET {
        Opened::NoBackend
    } else {
        open::<P, F>(packet, segment, &listener, port, clock)
    };
    match opened {
        Opened::Entered => Ok(Step::Begun),
        Opened::NoBackend => {
            stats::refused(listener.index);
            let drop = (vip.flags | listener.flags) & DROP_UNSERVED != 0;
            if drop { Err(Reason::NoBackendDropped) } else { Ok(Step::Refuse(Refusal::NoBackend)) }
        }
        Opened::Conflict => Err(Reason::FlowConflict),
        Opened::NoPort => Err(Reason::PortsExhausted),
        Opened::Full => Err(Reason::TableFull),
        Opened::Inconsistent => Err(Reason::Inconsistent),
    }
}

/// What came of opening a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
enum Opened {
    Entered,
    NoBackend,
    Conflict,
    NoPort,
    Full,
    Inconsistent,
}

/// Backends that are tried before a flow is given up. Where the source port may change, the same one is tried
/// again: another CPU was quicker to take a port that was free.
const ATTEMPTS: u32 = 3;

/// Selects a backend and enters both halves.
#[inline(always)]
fn open<P: Packet, F: Family>(
    packet: &P,
    segment: &Segment<F::Address>,
    listener: &ListenerValue,
    port: &PortValue,
    clock: &Clock,
) -> Opened {
    let key = &segment.key;
    let hash = select::hash(listener, key, clock);
    let mut alternative = 0;
    let mut failure = Opened::Conflict;
    let Some(draft) = flow::draft() else { return Opened::Inconsistent };
    for _ in 0..ATTEMPTS {
        let Ok(chosen) = select::choose(listener, key.source, hash, alternative) else {
            return Opened::Inconsistent;
        };
        let Some((id, backend)) = chosen else { return Opened::NoBackend };
        let mut flow = plan::<F>(segment, id, backend, packet.interface(), clock);
        flow.kind.partial = sum::looks_partial::<P, F::Address>(segment, port);
        if !flow.kind.at_egress {
            flow.next_hop = forward::learn(packet);
        }
        draft.write(&FlowEntry::new(&flow, Head::default()));
        if flow.kind.masquerade {
            let Some(source_port) = flow::source_port::free::<F::Address>() else { return Opened::NoPort };
            draft.write(&FlowEntry { source_port, ..draft.copy() });
        }
        let entry = draft.copy();
        match flow::insert(&entry.twin()) {
            Insertion::Entered => return enter::<F>(draft, listener, packet.interface(), port, clock),
            Insertion::Full => return Opened::Full,
            Insertion::Taken if entry.head.is_masqueraded() => failure = Opened::NoPort,
            Insertion::Taken => alternative += 1,
        }
    }
    failure
}

/// The forward half of a new flow.
#[inline(always)]
fn plan<F: Family>(
    segment: &Segment<F::Address>,
    id: BackendRef,
    backend: &BackendValue,
    interface: u32,
    clock: &Clock,
) -> Flow<F::Address> {
    let masquerade = backend.flags & MASQUERADE != 0 || backend.ifindex == interface;
    Flow {
        key: segment.key,
        kind: Kind {
            state: State::Opening,
            reply: false,
            masquerade,
            at_egress: !masquerade && backend.flags & REPLY_AT_EGRESS != 0,
            partial: false,
        },
        address: F::backend(backend),
        source_port: segment.key.source_port,
        destination_port: backend.port,
        backend: id,
        next_hop: 0,
        last_seen: clock.tick,
    }
}

/// Enters the forward half once the reply half stands. Where another CPU was quicker with the same packet's
/// sibling, its flow stands.
#[inline(always)]
fn enter<F: Family>(
    draft: Slot<F::Address>,
    listener: &ListenerValue,
    interface: u32,
    port: &PortValue,
    clock: &Clock,
) -> Opened {
    let entry = draft.copy();
    match flow::insert(&entry) {
        Insertion::Entered => {
            if let Some(backend) = backend::serving(entry.backend) {
                stats::flow(entry.backend, backend.listener);
                select::note(listener, entry.source, entry.backend);
                if backend.ifindex == interface && port.flags & UPLINK == 0 {
                    stats::count(Reason::Hairpin);
                }
            }
            Opened::Entered
        }
        Insertion::Taken => {
            if let Some(own) = flow::lookup(&entry.rewritten().reversed(), clock) {
                own.remove();
            }
            Opened::Entered
        }
        Insertion::Full => Opened::Full,
    }
}
