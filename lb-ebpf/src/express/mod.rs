//! The express lane: the packet that nearly every packet is. IPv4 without tags, options or fragments, TCP or UDP, in
//! the middle of a flow that needs no upkeep, sent on at full length; and what such a flow begins with.
//!
//! It does what [`crate::journey`] does with such a packet, with fewer looks at it; whatever it does not know at once
//! it leaves to the journey, with the packet as it came. So what is decided here is decided there as well, and tests compare the two.

mod start;
mod stranger;
mod upkeep;
mod way;

use lb_common::csum::pseudo_header;
use lb_common::flow::FlowKey;
use lb_common::known::{Settings, place_v4};
use lb_common::net::{Be16, Ipv4, Protocol};
use lb_common::port::{PortValue, UPLINK};
use lb_common::stage::Stage;
use lb_common::words::Words;

use crate::config::{self, Clock};
use crate::family::{Family as _, V4};
use crate::flow::{self, Glance};
use crate::headers::Plain;
use crate::journey::{GENERAL, Step};
use crate::packet::{Hook, Packet};
use crate::parse::{TCP, UDP};
use crate::rewrite::sum;
use crate::verdict::Action;
use crate::{account, backend, observe, port};
use way::Traveller;

pub use start::{Starting, begin, start};

/// More fragments follow, or some went before.
const FRAGMENTED: u16 = 0x3fff_u16.to_be();
/// FIN, SYN, RST and ACK of a TCP header's flags.
const TELLING: u8 = 0x17;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// To a lane of its own, and to the journey.
const START: Taken = Taken::Step(Step::next(Stage::StartV4).code());
const OPEN: Taken = Taken::Step(Step::next(Stage::OpenV4).code());

/// How far the lane took a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Through, to this return value. Nobody looks at packets, and it is no drop: nothing is left to do.
    Through(i32),
    /// To where a stage goes on, or a drop is told of, or nowhere: [`GENERAL`].
    Step(i32),
}

impl Taken {
    /// Nowhere.
    const LEFT: Self = Self::Step(GENERAL);

    #[inline(always)]
    fn through<P: Packet>(packet: &P, action: Action) -> Self {
        Self::Through(packet.verdict(action))
    }
}

/// Takes a packet, or leaves it.
#[inline(always)]
pub fn take<P: Packet>(packet: &mut P) -> Taken {
    // What looks at packets wants to hear of those that are not ours as well.
    if observe::is_any() {
        return Taken::LEFT;
    }
    let Some(front) = packet.front() else { return Taken::LEFT };
    // SAFETY: nothing writes to the packet before it is sent on its way, where this is not looked at again.
    let plain = unsafe { front.as_ref() };
    if !plain.is_simple_v4() {
        return if stranger::is_one(plain) { passed(packet) } else { Taken::LEFT };
    }
    let Some(known) = config::known() else { return Taken::LEFT };
    if !stranger::is_ours(plain, known) {
        return if plain.protocol == V4::CONTROL { Taken::LEFT } else { passed(packet) };
    }
    let Some(port) = port::attached(packet.interface()) else { return passed(packet) };
    let config = &known.config;
    let length = plain.total.get();
    if !is_whole(plain, length) || packet.outer_vlan() != 0 {
        return Taken::LEFT;
    }
    // What most likely begins a flow is not looked up here: its bucket is waited for with that of the answers.
    if (is_first(plain) || plain.protocol != TCP && known.fresh != 0)
        && is_dialled_by_stranger::<P>(plain, known)
    {
        return START;
    }
    match flow::glance(plain.addresses(), plain.ports(), plain.protocol, config) {
        Glance::Settled(half, slot) if is_expected::<P>(plain, port) => {
            let tick = Clock::tick(config);
            if half.last_seen() != tick {
                if !upkeep::waits(packet, plain, &half, config, tick) {
                    return Taken::LEFT;
                }
                slot.touch(tick);
            }
            let Some(backend) = backend::serving(half.backend()) else { return Taken::LEFT };
            let traveller = Traveller { half: &half, backend, port, front, length };
            if half.head.is_reply() { traveller.outwards(packet) } else { traveller.inwards(packet) }
        }
        Glance::Settled(..) | Glance::Unclear => Taken::LEFT,
        Glance::Nothing if plain.protocol != TCP && is_dialled_by_stranger::<P>(plain, known) => START,
        Glance::Nothing
            if P::HOOK != Hook::Egress && (is_opening(plain) || is_dialled::<P>(plain, known)) =>
        {
            OPEN
        }
        Glance::Nothing => passed(packet),
    }
}

#[inline(always)]
fn passed<P: Packet>(packet: &P) -> Taken {
    Taken::through(packet, Action::Pass)
}

/// Is it TCP or UDP, and no fragment?
#[inline(always)]
fn is_whole(plain: &Plain, length: u16) -> bool {
    u16::from_ne_bytes(plain.fragment) & FRAGMENTED == 0
        && length >= Plain::IP
        && matches!(plain.protocol, TCP | UDP)
}

/// May it be to a VIP, where flows begin or have to be refused?
#[inline(always)]
fn is_dialled<P: Packet>(plain: &Plain, known: &Settings) -> bool {
    P::HOOK != Hook::Egress && known.may_be_vip(place_v4((plain.addresses() >> 32) as u32))
}

/// The same from a stranger: what a VIP or a backend sends there may be an answer.
#[inline(always)]
fn is_dialled_by_stranger<P: Packet>(plain: &Plain, known: &Settings) -> bool {
    is_dialled::<P>(plain, known) && !known.knows(place_v4(plain.addresses() as u32))
}

/// Does it dial somebody, be it no VIP?
#[inline(always)]
const fn is_opening(plain: &Plain) -> bool {
    plain.protocol == TCP && plain.flags & (SYN | ACK) == SYN
}

/// Is it the first packet of a connection?
#[inline(always)]
const fn is_first(plain: &Plain) -> bool {
    plain.protocol == TCP && plain.flags & TELLING == SYN
}

/// Is it an ordinary packet that is addressed to us, with a checksum that is finished?
#[inline(always)]
fn is_expected<P: Packet>(plain: &Plain, port: &PortValue) -> bool {
    if plain.protocol == TCP && plain.flags & TELLING != ACK {
        return false;
    }
    is_addressed::<P>(plain, port) && !(sum::may_be_partial::<P>(port) && looks_partial(plain))
}

/// Is it addressed to us, where the network is?
#[inline(always)]
fn is_addressed<P: Packet>(plain: &Plain, port: &PortValue) -> bool {
    port.flags & UPLINK == 0 || P::HOOK == Hook::Egress || plain.receiver().is_like(port.station())
}

#[inline(always)]
fn looks_partial(plain: &Plain) -> bool {
    let source = Ipv4((plain.addresses() as u32).to_ne_bytes());
    let field = if plain.protocol == TCP { plain.tcp_check } else { plain.udp_check };
    let length = plain.total.get() - Plain::IP;
    u16::from_ne_bytes(field) == pseudo_header(source, plain.destination(), plain.protocol, length)
}

/// Counts it for its flow.
#[inline(always)]
fn account(half: &Words, reply: bool, bytes: u32) {
    let key = |addresses: u64, ports: u32, protocol| FlowKey {
        source: Ipv4((addresses as u32).to_ne_bytes()),
        destination: Ipv4(((addresses >> 32) as u32).to_ne_bytes()),
        source_port: Be16::from_raw(ports as u16),
        destination_port: Be16::from_raw((ports >> 16) as u16),
        protocol,
    };
    let protocol: Protocol = half.head.protocol();
    let dialled = if reply {
        key(half.rewritten(), half.ports(), protocol).reversed()
    } else {
        key(half.addresses, half.head.0 as u32, protocol)
    };
    account::v4(&dialled, reply, bytes);
}
