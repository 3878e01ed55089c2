//! The ways out of the express lane, each from here to its verdict: what is the same on all of them would cost more
//! to bring together than it costs to have it four times. Where a way is not plain, none is taken.

use core::ptr::NonNull;

use lb_common::backend::{BackendValue, LIMITED, REPLY_AT_EGRESS, ROUTED};
use lb_common::port::{ACCOUNTED, PortValue};
use lb_common::words::Words;

use super::Taken;
use crate::headers::{Ethernet, Plain};
use crate::packet::{Hook, Packet};
use crate::rewrite::plain::{Change, Frame};
use crate::verdict::{self, Action};
use crate::{next_hop, port, stats};

/// A packet of a flow, on its way.
#[derive(Clone, Copy)]
pub(super) struct Traveller<'a> {
    /// Its half of the flow.
    pub(super) half: &'a Words,
    /// The flow's backend, which serves it.
    pub(super) backend: &'a BackendValue,
    /// Where it came in, or goes out at egress.
    pub(super) port: &'a PortValue,
    /// Its headers, in the packet as it came.
    pub(super) front: NonNull<Plain>,
    /// Bytes of the IP packet.
    pub(super) length: u16,
}

impl Traveller<'_> {
    /// To the backend.
    #[inline(always)]
    pub(super) fn inwards<P: Packet>(self, packet: &mut P) -> Taken {
        let (backend, port) = (self.backend, self.port);
        let (flags, station) = (backend.flags, backend.station());
        if P::HOOK == Hook::Egress
            || flags & LIMITED != 0
            || !station.is_surely_set()
            || !self.fits(station.rest())
        {
            return Taken::LEFT;
        }
        let out = backend.ifindex;
        let here = out == packet.interface();
        if !here && backend.bridge != 0 && backend.bridge == port.bridge {
            return self.go(packet, (false, 0), Frame::to(station), Action::Pass);
        }
        if !here && (out == 0 || flags & REPLY_AT_EGRESS != 0) {
            return self.go(packet, (false, 0), Frame::KEPT, Action::Pass);
        }
        let hop = u8::from(flags & ROUTED != 0);
        if self.hops() <= hop {
            return Taken::LEFT;
        }
        if here {
            return self.go(packet, (false, hop), Frame::between(port.station(), station), Action::Back);
        }
        let Some(other) = port::surely_known(out) else { return Taken::LEFT };
        self.go(packet, (false, hop), Frame::between(other.station(), station), Action::Redirect(out))
    }

    /// To the client.
    #[inline(always)]
    pub(super) fn outwards<P: Packet>(self, packet: &mut P) -> Taken {
        if self.half.head.at_egress() != (P::HOOK == Hook::Egress) {
            return Taken::LEFT;
        }
        if P::HOOK == Hook::Egress {
            return self.go(packet, (true, 0), Frame::KEPT, Action::Pass);
        }
        let hop = u8::from(self.backend.flags & ROUTED != 0);
        let Some(to) = next_hop::get(self.half.next_hop()) else { return Taken::LEFT };
        if to.vlans != 0 || self.hops() <= hop {
            return Taken::LEFT;
        }
        let (out, port) = (to.ifindex, self.port);
        if out == packet.interface() {
            if !self.fits(port.mtu) {
                return Taken::LEFT;
            }
            return self.go(packet, (true, hop), Frame::between(port.station(), to.station()), Action::Back);
        }
        let Some(other) = port::surely_known(out) else { return Taken::LEFT };
        if !self.fits(other.mtu) {
            return Taken::LEFT;
        }
        self.go(packet, (true, hop), Frame::between(other.station(), to.station()), Action::Redirect(out))
    }

    /// Its TTL.
    #[inline(always)]
    const fn hops(&self) -> u8 {
        // SAFETY: the headers are where they were.
        unsafe { self.front.as_ref().hops }
    }

    /// Is it no longer than what may be as long as this? What has no limit that is known, which is zero, is not plain.
    #[inline(always)]
    fn fits(&self, mtu: u16) -> bool {
        self.length <= mtu
    }

    /// Sends it on.
    #[inline(always)]
    fn go<P: Packet>(self, packet: &mut P, (reply, hop): (bool, u8), frame: Frame, action: Action) -> Taken {
        let half = self.half;
        let change = Change { addresses: half.rewritten_as(reply), ports: half.ports(), hop, frame };
        // SAFETY: nothing has moved the packet since.
        if let Err(reason) = unsafe { packet.change(self.front, &change) } {
            return Taken::Step(verdict::settle(packet, Err(reason)));
        }
        let bytes = packet.bytes(size_of::<Ethernet>() as u32 + u32::from(self.length));
        stats::packet(half.backend(), reply, bytes);
        if self.port.flags & ACCOUNTED != 0 {
            super::account(half, reply, bytes);
        }
        Taken::through(packet, action)
    }
}
