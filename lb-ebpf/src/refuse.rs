//! Saying no: RST, ICMP port unreachable, or silence.

use lb_common::net::Protocol;
use lb_common::port::PortValue;
use lb_common::reason::Reason;

use crate::family::Family;
use crate::flow::life::Event;
use crate::packet::Packet;
use crate::parse::Segment;
use crate::verdict::Action;
use crate::{limit, parse, stats};

/// Why a segment is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Refusal {
    /// Nothing listens there.
    NoListener = 0,
    /// Nobody serves the listener.
    NoBackend = 1,
    /// The one who served this flow is dead.
    BackendDead = 2,
    /// The same, and the client of this flow has been told before.
    BackendGone = 3,
    /// It opens no connection, and the listener is strict.
    NotOpened = 4,
}

impl Refusal {
    /// The refusal with this number.
    #[inline(always)]
    pub const fn numbered(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::NoListener),
            1 => Some(Self::NoBackend),
            2 => Some(Self::BackendDead),
            3 => Some(Self::BackendGone),
            4 => Some(Self::NotOpened),
            _ => None,
        }
    }

    /// The names of RST, ICMP and silence.
    #[inline(always)]
    const fn reasons(self) -> (Reason, Reason, Reason) {
        match self {
            Self::NoListener => {
                (Reason::NoListenerReset, Reason::NoListenerUnreachable, Reason::NoListenerDropped)
            }
            Self::NoBackend => {
                (Reason::NoBackendReset, Reason::NoBackendUnreachable, Reason::NoBackendDropped)
            }
            Self::BackendDead | Self::BackendGone => {
                (Reason::BackendDead, Reason::BackendDead, Reason::BackendDead)
            }
            Self::NotOpened => (Reason::NotOpened, Reason::NotOpened, Reason::NotOpened),
        }
    }
}

/// Refuses a segment: with an answer if it may be answered. A RST never is (RFC 9293 section 3.10.7.1), nor
/// is anything from an address that can't be a sender's (RFC 1122 section 3.2.2).
///
/// # Errors
///
/// The name of the silence.
#[inline(always)]
pub fn refuse<P: Packet, F: Family>(
    packet: &mut P,
    refusal: Refusal,
    port: &PortValue,
) -> Result<Action, Reason> {
    let (reset, unreachable, silence) = refusal.reasons();
    packet.pull(packet.network() + size_of::<F::Fixed>());
    let ip = F::read(packet.header(packet.network()).ok_or(silence)?, packet.network());
    let Some(segment) = &parse::segment(packet, &ip) else { return Err(silence) };
    let answerable = segment.event != Event::RESET && F::answerable(segment.key.source);
    // As many as there are flows of a dead backend: they die all at once, and each is told once.
    let is_allowed = refusal == Refusal::BackendDead || limit::answer();
    if !answerable || !is_allowed || !write::<P, F>(packet, segment, port) {
        return Err(silence);
    }
    stats::count(match segment.key.protocol {
        Protocol::Tcp => reset,
        Protocol::Udp => unreachable,
    });
    Ok(Action::Back)
}

/// Turns a segment into its refusal; false where it can't be.
#[inline(never)]
fn write<P: Packet, F: Family>(packet: &mut P, segment: &Segment<F::Address>, port: &PortValue) -> bool {
    let written = match segment.key.protocol {
        Protocol::Tcp => F::reset(packet, segment, port),
        Protocol::Udp => F::unreachable(packet, segment, port),
    };
    written.is_some()
}
