//! IPv4, and what another address family has to bring along.

use lb_common::backend::BackendValue;
use lb_common::csum::Delta;
use lb_common::net::{Be16, Ipv4};
use lb_common::port::PortValue;
use lb_common::reason::Reason;
use lb_common::vip::VipValue;

use crate::flow::Flows;
use crate::headers::{FrontV4, Header};
use crate::listener::Listeners;
use crate::packet::Packet;
use crate::parse::{Fragment, Ip, Segment};
use crate::policy::Clients;
use crate::rewrite::Rewrite;
use crate::select::affinity::Affine;
use crate::verdict::Action;
use crate::{answer, icmp};

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::V4 {}
}

/// An address family: its header, and by its addresses its maps.
pub trait Family: sealed::Sealed {
    /// Its addresses.
    type Address: Flows + Listeners + Clients + Affine;
    /// A frame up to the end of its fixed header.
    type Front: Header;
    /// Both addresses as they follow each other in the header.
    type Pair: Header;
    /// The protocol number of its control messages.
    const CONTROL: u8;
    /// Where both addresses begin, from the start of the frame.
    const ADDRESSES: usize;
    /// Where the TTL is, from the start of the frame.
    const HOPS: usize;
    /// Where the header's own checksum is, from the start of the frame.
    const CHECKSUM: Option<usize>;

    /// Reads the header.
    fn read(front: &Self::Front) -> Ip<Self::Address>;

    /// The change of the header's own checksum.
    fn header_change(rewrite: &Rewrite<Self::Address>) -> Delta;

    /// The new addresses.
    fn addresses(rewrite: &Rewrite<Self::Address>) -> Self::Pair;

    /// Rewrites the header.
    fn write(front: &mut Self::Front, rewrite: &Rewrite<Self::Address>);

    /// A backend's address.
    fn backend(backend: &BackendValue) -> Self::Address;

    /// Can somebody with this address be answered?
    fn answerable(address: Self::Address) -> bool;

    /// Takes a control message (ICMP) to a VIP.
    ///
    /// # Errors
    ///
    /// The reason why it is not answered.
    fn control<P: Packet>(
        packet: &mut P,
        ip: &Ip<Self::Address>,
        vip: VipValue,
        port: &PortValue,
    ) -> Result<Action, Reason>;

    /// Turns a TCP segment into its refusal; `None` where it can't be.
    fn reset<P: Packet>(packet: &mut P, segment: &Segment<Self::Address>, port: &PortValue) -> Option<()>;

    /// Turns a UDP datagram into its refusal; `None` where it can't be.
    fn unreachable<P: Packet>(
        packet: &mut P,
        segment: &Segment<Self::Address>,
        port: &PortValue,
    ) -> Option<()>;
}

/// IPv4.
pub struct V4;

const ETHERNET: usize = 14;

impl Family for V4 {
    type Address = Ipv4;
    type Front = FrontV4;
    type Pair = [Ipv4; 2];
    const CONTROL: u8 = 1;
    const ADDRESSES: usize = ETHERNET + 12;
    const HOPS: usize = ETHERNET + 8;
    const CHECKSUM: Option<usize> = Some(ETHERNET + 10);

    #[inline(always)]
    fn read(front: &FrontV4) -> Ip<Ipv4> {
        let ip = &front.ip;
        let header = usize::from(ip.vihl & 0xf) * 4;
        let total = Be16(ip.tot_len).get();
        let frags = Be16(ip.frags).get();
        Ip {
            source: Ipv4(ip.src_addr),
            destination: Ipv4(ip.dst_addr),
            protocol: ip.proto,
            transport: ETHERNET + header,
            length: total.wrapping_sub(header as u16),
            hops: ip.ttl,
            fragment: match (frags & 0x1fff, frags & 0x2000) {
                (0, 0) => Fragment::None,
                (0, _) => Fragment::First,
                (_, _) => Fragment::Later,
            },
            sound: ip.vihl >> 4 == 4 && header >= 20 && usize::from(total) >= header,
        }
    }

    #[inline(always)]
    fn header_change(rewrite: &Rewrite<Ipv4>) -> Delta {
        let change = rewrite.address_change();
        match rewrite.hops {
            Some(hops) => change.replace16(
                u16::from_ne_bytes([hops.before, rewrite.to.protocol.number()]),
                u16::from_ne_bytes([hops.after, rewrite.to.protocol.number()]),
            ),
            None => change,
        }
    }

    #[inline(always)]
    fn addresses(rewrite: &Rewrite<Ipv4>) -> [Ipv4; 2] {
        [rewrite.to.source, rewrite.to.destination]
    }

    #[inline(always)]
    fn write(front: &mut FrontV4, rewrite: &Rewrite<Ipv4>) {
        let ip = &mut front.ip;
        ip.check = Self::header_change(rewrite).apply(u16::from_ne_bytes(ip.check)).to_ne_bytes();
        ip.src_addr = rewrite.to.source.0;
        ip.dst_addr = rewrite.to.destination.0;
        if let Some(hops) = rewrite.hops {
            ip.ttl = hops.after;
        }
    }

    #[inline(always)]
    fn backend(backend: &BackendValue) -> Ipv4 {
        let [a, b, c, d, ..] = backend.address;
        Ipv4([a, b, c, d])
    }

    #[inline(always)]
    fn answerable(address: Ipv4) -> bool {
        // Not "this network", loopback, multicast, reserved or broadcast.
        !matches!(address.0[0], 0 | 127 | 224..)
    }

    #[inline(always)]
    fn control<P: Packet>(
        packet: &mut P,
        ip: &Ip<Ipv4>,
        vip: VipValue,
        port: &PortValue,
    ) -> Result<Action, Reason> {
        icmp::take(packet, ip, vip, port)
    }

    #[inline(always)]
    fn reset<P: Packet>(packet: &mut P, segment: &Segment<Ipv4>, port: &PortValue) -> Option<()> {
        answer::reset(packet, segment, port)
    }

    #[inline(always)]
    fn unreachable<P: Packet>(packet: &mut P, segment: &Segment<Ipv4>, port: &PortValue) -> Option<()> {
        answer::unreachable(packet, segment, port)
    }
}
