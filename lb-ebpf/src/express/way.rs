//! The way out of a packet of the express lane. Where it is not plain, there is none.

use lb_common::backend::{BackendValue, LIMITED, REPLY_AT_EGRESS};
use lb_common::flow::Words;
use lb_common::port::PortValue;

use crate::packet::{Hook, Packet};
use crate::rewrite::plain::Frame;
use crate::verdict::Action;
use crate::{next_hop, port};

/// Where it goes.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// What to do with it.
    pub(super) action: Action,
    /// Is it transmitted from here?
    pub(super) leaves: bool,
    /// Whom the frame is addressed to, and from whom.
    pub(super) frame: Frame,
    /// How long an IP packet may be there; 0 for no limit that is known.
    pub(super) mtu: u16,
}

impl Way {
    /// To the backend.
    #[inline(always)]
    pub(super) fn inwards<P: Packet>(packet: &P, backend: &BackendValue, port: &PortValue) -> Option<Self> {
        if P::HOOK == Hook::Egress || backend.flags & LIMITED != 0 || backend.mac.is_unset() {
            return None;
        }
        let mtu = backend.mtu;
        if backend.ifindex == packet.interface() {
            let frame = Frame::between(port.mac, backend.mac);
            return Some(Self { action: Action::Back, leaves: true, frame, mtu });
        }
        if backend.bridge != 0 && backend.bridge == port.bridge {
            return Some(Self { action: Action::Pass, leaves: false, frame: Frame::to(backend.mac), mtu });
        }
        if backend.ifindex == 0 || backend.flags & REPLY_AT_EGRESS != 0 {
            return Some(Self { action: Action::Pass, leaves: false, frame: Frame::KEPT, mtu });
        }
        let out = port::known(backend.ifindex)?;
        let frame = Frame::between(out.mac, backend.mac);
        Some(Self { action: Action::Redirect(backend.ifindex), leaves: true, frame, mtu })
    }

    /// To the client.
    #[inline(always)]
    pub(super) fn outwards<P: Packet>(packet: &P, half: &Words, port: &PortValue) -> Option<Self> {
        if half.head.at_egress() != (P::HOOK == Hook::Egress) {
            return None;
        }
        if P::HOOK == Hook::Egress {
            return Some(Self { action: Action::Pass, leaves: false, frame: Frame::KEPT, mtu: 0 });
        }
        let hop = next_hop::get(half.next_hop()).filter(|hop| hop.vlans == 0)?;
        if hop.ifindex == packet.interface() {
            let frame = Frame::between(port.mac, hop.mac());
            return Some(Self { action: Action::Back, leaves: true, frame, mtu: port.mtu });
        }
        let out = port::known(hop.ifindex)?;
        let frame = Frame::between(out.mac, hop.mac());
        Some(Self { action: Action::Redirect(hop.ifindex), leaves: true, frame, mtu: out.mtu })
    }
}
