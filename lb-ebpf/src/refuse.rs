//! Saying no: RST, an ICMP error, or silence.

use lb_common::net::Protocol;
use lb_common::port::PortValue;
use lb_common::reason::Reason;

use crate::answer::Complaint;
use crate::family::Family;
use crate::flow::life::Event;
use crate::packet::Packet;
use crate::parse::Segment;
use crate::verdict::Action;
use crate::{limit, parse, stats};

/// Why a segment is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Nothing listens there.
    NoListener,
    /// Nobody serves the listener.
    NoBackend,
    /// The one who served this flow is dead.
    BackendDead,
    /// The same, and the client of this flow has been told before.
    BackendGone,
    /// It opens no connection, and the listener is strict.
    NotOpened,
    /// It is longer than its way out carries: this is the longest IP packet that fits.
    TooBig(u16),
}

impl Refusal {
    /// As a number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        match self {
            Self::NoListener => 0,
            Self::NoBackend => 1,
            Self::BackendDead => 2,
            Self::BackendGone => 3,
            Self::NotOpened => 4,
            Self::TooBig(mtu) => 5 | (mtu as u32) << 16,
        }
    }

    /// The refusal with this number.
    #[inline(always)]
    pub const fn numbered(number: u32) -> Option<Self> {
        match number & 0xffff {
            0 => Some(Self::NoListener),
            1 => Some(Self::NoBackend),
            2 => Some(Self::BackendDead),
            3 => Some(Self::BackendGone),
            4 => Some(Self::NotOpened),
            5 => Some(Self::TooBig((number >> 16) as u16)),
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
            Self::TooBig(_) => (Reason::TooBigAnswered, Reason::TooBigAnswered, Reason::TooBigDropped),
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
    let ip = parse::ip::<P, F>(packet).ok().ok_or(silence)?;
    let Some(segment) = &parse::segment(packet, &ip) else { return Err(silence) };
    let answerable = segment.event != Event::RESET && F::answerable(segment.key.source);
    // As many as there are flows of a dead backend: they die all at once, and each is told once.
    let is_allowed = refusal == Refusal::BackendDead || limit::answer();
    if !answerable || !is_allowed || !write::<P, F>(packet, segment, refusal, port) {
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
fn write<P: Packet, F: Family>(
    packet: &mut P,
    segment: &Segment<F::Address>,
    refusal: Refusal,
    port: &PortValue,
) -> bool {
    let written = match (refusal, segment.key.protocol) {
        (Refusal::TooBig(mtu), _) => F::error(packet, segment, port, Complaint::TooBig(mtu)),
        (_, Protocol::Tcp) => F::reset(packet, segment, port),
        (_, Protocol::Udp) => F::error(packet, segment, port, Complaint::PortUnreachable),
    };
    written.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_back() {
        let refusals =
            [Refusal::NoListener, Refusal::NoBackend, Refusal::BackendDead, Refusal::TooBig(65_535)];
        for refusal in refusals {
            assert_eq!(Refusal::numbered(refusal.number()), Some(refusal));
        }
    }
}
