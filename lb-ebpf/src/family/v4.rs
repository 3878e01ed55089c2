//! IPv4 (RFC 791).

use lb_common::backend::BackendValue;
use lb_common::csum::Delta;
use lb_common::net::{Be16, Ipv4};
use lb_common::port::PortValue;
use lb_common::reason::Reason;
use lb_common::stage::Stage;
use network_types::ip::Ipv4Hdr;

use super::Family;
use crate::answer::Complaint;
use crate::headers::IPV4;
use crate::journey::Step;
use crate::packet::Packet;
use crate::parse::{Fragment, Ip, Segment};
use crate::rewrite::{Hops, Rewrite};
use crate::transmit::Order;
use crate::verdict::Action;
use crate::{account, answer, icmp, transmit};

/// IPv4.
pub struct V4;

/// A flag beside a fragment's place.
const DO_NOT_FRAGMENT: u16 = 0x4000;

impl Family for V4 {
    type Address = Ipv4;
    type Fixed = Ipv4Hdr;
    type Pair = [Ipv4; 2];
    const KIND: Be16 = IPV4;
    const CONTROL: u8 = 1;
    const ADDRESSES: usize = 12;
    const HOPS: usize = 8;
    const CHECKSUM: Option<usize> = Some(10);
    const FOLLOW: Stage = Stage::Arrive;
    const OPEN: Stage = Stage::OpenV4;
    const REFUSE: Stage = Stage::RefuseV4;
    const CONTROL_STAGE: Stage = Stage::ControlV4;
    const FRAGMENT: Stage = Stage::FragmentV4;

    #[inline(always)]
    fn read(ip: &Ipv4Hdr, network: usize) -> Ip<Ipv4> {
        let header = usize::from(ip.vihl & 0xf) * 4;
        let total = Be16(ip.tot_len).get();
        let frags = Be16(ip.frags).get();
        Ip {
            source: Ipv4(ip.src_addr),
            destination: Ipv4(ip.dst_addr),
            protocol: ip.proto,
            transport: network + header,
            length: total.wrapping_sub(header as u16),
            hops: ip.ttl,
            fragment: match (frags & 0x1fff, frags & 0x2000) {
                (0, 0) => Fragment::None,
                (0, _) => Fragment::First,
                (_, _) => Fragment::Later,
            },
            place: frags & 0x1fff,
            identification: {
                let [a, b] = ip.id;
                [0, 0, a, b]
            },
            sound: ip.vihl >> 4 == 4 && header >= 20 && usize::from(total) >= header,
        }
    }

    #[inline(always)]
    fn is_plain(ip: &Ip<Ipv4>) -> bool {
        ip.fragment == Fragment::None
    }

    #[inline(always)]
    fn locate<P: Packet>(_packet: &mut P, ip: Ip<Ipv4>) -> Option<Ip<Ipv4>> {
        Some(ip)
    }

    #[inline(always)]
    fn is_divisible<P: Packet>(packet: &P) -> bool {
        packet
            .header::<Ipv4Hdr>(packet.network())
            .is_some_and(|ip| Be16(ip.frags).get() & DO_NOT_FRAGMENT == 0)
    }

    #[inline(always)]
    fn header_change(rewrite: &Rewrite<Ipv4>) -> Delta {
        let change = rewrite.address_change();
        let word = |hops| u16::from_ne_bytes([hops, rewrite.to.protocol.number()]);
        let Hops { before, after } = rewrite.hops;
        if rewrite.hops.change() { change.replace16(word(before), word(after)) } else { change }
    }

    #[inline(always)]
    fn addresses(rewrite: &Rewrite<Ipv4>) -> [Ipv4; 2] {
        [rewrite.to.source, rewrite.to.destination]
    }

    #[inline(always)]
    fn write(ip: &mut Ipv4Hdr, rewrite: &Rewrite<Ipv4>) {
        ip.check = Self::header_change(rewrite).apply(u16::from_ne_bytes(ip.check)).to_ne_bytes();
        ip.src_addr = rewrite.to.source.0;
        ip.dst_addr = rewrite.to.destination.0;
        ip.ttl = rewrite.hops.after;
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
    fn is_error(kind: u8) -> bool {
        icmp::is_error(kind)
    }

    #[inline(always)]
    fn control<P: Packet>(packet: &mut P, ip: &Ip<Ipv4>, port: &PortValue) -> Result<Action, Reason> {
        icmp::take(packet, ip, port)
    }

    #[inline(always)]
    fn carry_out<P: Packet>(packet: &mut P, order: &Order<Ipv4>, port: &PortValue) -> Result<Step, Reason> {
        transmit::carry_out::<P, V4>(packet, order, port)
    }

    #[inline(always)]
    fn account(order: &Order<Ipv4>, bytes: u32) {
        account::v4(&order.dialled(), order.is_reply(), bytes);
    }

    #[inline(always)]
    fn reset<P: Packet>(packet: &mut P, segment: &Segment<Ipv4>, port: &PortValue) -> Option<()> {
        answer::v4::reset(packet, segment, port)
    }

    #[inline(always)]
    fn error<P: Packet>(
        packet: &mut P,
        segment: &Segment<Ipv4>,
        port: &PortValue,
        complaint: Complaint,
    ) -> Option<()> {
        answer::v4::error(packet, segment, port, complaint)
    }
}
