//! What becomes of a packet.

use aya_log_ebpf::debug;
use lb_common::reason::Reason;

use crate::packet::Packet;
use crate::{event, observe, stats};

/// What becomes of a packet, in the hook's independent terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// To whom it would have gone without us.
    Pass,
    /// Nowhere.
    Drop,
    /// Out of the interface through which it came.
    Back,
    /// Out of the interface with this index.
    Redirect(u32),
}

/// The program's return value for what came of a packet, and the mark in the counters if it could not be
/// forwarded.
#[inline(always)]
pub fn settle<P: Packet>(packet: &P, outcome: Result<Action, Reason>) -> i32 {
    let action = match outcome {
        Ok(action) => action,
        Err(Reason::NotOurs) => {
            observe::reason(Reason::NotOurs);
            Action::Pass
        }
        Err(reason) => {
            stats::count(reason);
            if matches!(reason, Reason::WriteFailed | Reason::Inconsistent) {
                log(reason as u32);
            }
            if passes(reason) {
                Action::Pass
            } else {
                event::drops(reason);
                Action::Drop
            }
        }
    };
    packet.verdict(action)
}

/// Says what should not happen. The agent sets the level when it loads the programs; where it is disabled,
/// the verifier removes this.
#[inline(never)]
fn log(reason: u32) {
    debug!((), "dropped a packet for reason {}", reason);
}

/// Is a packet with this problem somebody else's business?
const fn passes(reason: Reason) -> bool {
    match reason {
        Reason::NotOurs
        | Reason::Truncated
        | Reason::VlanTagged
        | Reason::Ipv6
        | Reason::ForeignMac
        | Reason::TtlExpired => true,
        Reason::Malformed
        | Reason::ForeignSource
        | Reason::Fragment
        | Reason::ProtocolUnknown
        | Reason::IcmpUnhandled
        | Reason::ArpAnswered
        | Reason::EchoAnswered
        | Reason::NoListenerReset
        | Reason::NoListenerUnreachable
        | Reason::NoListenerDropped
        | Reason::NoBackendReset
        | Reason::NoBackendUnreachable
        | Reason::NoBackendDropped
        | Reason::BackendDead
        | Reason::FlowConflict
        | Reason::PortsExhausted
        | Reason::TableFull
        | Reason::Overflowed
        | Reason::NeighbourUnknown
        | Reason::NextHopUnknown
        | Reason::Hairpin
        | Reason::DirectConnection
        | Reason::TwinRestored
        | Reason::WriteFailed
        | Reason::Inconsistent
        | Reason::FragmentUnknown
        | Reason::ExtensionHeaders
        | Reason::VlanMismatch
        | Reason::IcmpErrorForwarded
        | Reason::IcmpErrorUnknown
        | Reason::TooBigAnswered
        | Reason::TooBigDropped
        | Reason::NeighbourAnswered
        | Reason::SourceDenied
        | Reason::BalancerLimited
        | Reason::SourceLimited
        | Reason::NodeLimited
        | Reason::NotOpened
        | Reason::Reselected => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_never_dropped() {
        let passed: Vec<_> = Reason::ALL.into_iter().filter(|&reason| passes(reason)).collect();
        let foreign = [Reason::NotOurs, Reason::Truncated, Reason::VlanTagged, Reason::Ipv6];
        let others = [Reason::ForeignMac, Reason::TtlExpired];
        assert_eq!(passed, [&foreign[..], &others].concat());
    }
}
