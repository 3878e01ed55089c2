//! IPv6 (RFC 8200).

use lb_common::backend::BackendValue;
use lb_common::csum::Delta;
use lb_common::net::{Be16, Ipv6};
use lb_common::port::PortValue;
use lb_common::reason::Reason;
use lb_common::stage::Stage;
use network_types::ip::Ipv6Hdr;

use super::Family;
use crate::headers::IPV6;
use crate::journey::Step;
use crate::packet::Packet;
use crate::parse::{Fragment, Ip, Segment};
use crate::rewrite::Rewrite;
use crate::transmit::Order;
use crate::verdict::Action;
use crate::{answer, icmpv6, order};

/// IPv6.
pub struct V6;

/// Hop-by-hop options in `next header`.
const HOP_BY_HOP: u8 = 0;
/// A routing header.
const ROUTING: u8 = 43;
/// A fragment header.
const FRAGMENT: u8 = 44;
/// An authentication header.
const AUTHENTICATION: u8 = 51;
/// Destination options.
const DESTINATION: u8 = 60;

impl Family for V6 {
    type Address = Ipv6;
    type Fixed = Ipv6Hdr;
    type Pair = [Ipv6; 2];
    const KIND: Be16 = IPV6;
    const CONTROL: u8 = 58;
    const ADDRESSES: usize = 8;
    const HOPS: usize = 7;
    const CHECKSUM: Option<usize> = None;
    const FOLLOW: Stage = Stage::FollowV6;
    const OPEN: Stage = Stage::OpenV6;
    const REFUSE: Stage = Stage::RefuseV6;
    const CONTROL_STAGE: Stage = Stage::ControlV6;
    const FRAGMENT: Stage = Stage::FragmentV6;

    #[inline(always)]
    fn read(ip: &Ipv6Hdr, network: usize) -> Ip<Ipv6> {
        Ip {
            source: Ipv6(ip.src_addr),
            destination: Ipv6(ip.dst_addr),
            protocol: ip.next_hdr,
            transport: network + size_of::<Ipv6Hdr>(),
            length: Be16(ip.payload_len).get(),
            hops: ip.hop_limit,
            fragment: Fragment::None,
            sound: ip.vcf[0] >> 4 == 6,
        }
    }

    #[inline(always)]
    fn is_plain(ip: &Ip<Ipv6>) -> bool {
        !matches!(ip.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
    }

    #[inline(always)]
    fn header_change(_rewrite: &Rewrite<Ipv6>) -> Delta {
        Delta::new()
    }

    #[inline(always)]
    fn addresses(rewrite: &Rewrite<Ipv6>) -> [Ipv6; 2] {
        [rewrite.to.source, rewrite.to.destination]
    }

    #[inline(always)]
    fn write(ip: &mut Ipv6Hdr, rewrite: &Rewrite<Ipv6>) {
        ip.src_addr = rewrite.to.source.0;
        ip.dst_addr = rewrite.to.destination.0;
        if let Some(hops) = rewrite.hops {
            ip.hop_limit = hops.after;
        }
    }

    #[inline(always)]
    fn backend(backend: &BackendValue) -> Ipv6 {
        Ipv6(backend.address)
    }

    #[inline(always)]
    fn answerable(address: Ipv6) -> bool {
        // Not unspecified, loopback or multicast (RFC 4291 section 2.7).
        let number = u128::from_be_bytes(address.0);
        number > 1 && number >> 120 != 0xff
    }

    #[inline(always)]
    fn control<P: Packet>(packet: &mut P, ip: &Ip<Ipv6>, port: &PortValue) -> Result<Action, Reason> {
        icmpv6::take(packet, ip, port)
    }

    #[inline(always)]
    fn carry_out<P: Packet>(packet: &mut P, order: &Order<Ipv6>, port: &PortValue) -> Result<Step, Reason> {
        _ = (packet, port);
        order::note(order)?;
        Ok(Step::ORDERED)
    }

    #[inline(always)]
    fn reset<P: Packet>(packet: &mut P, segment: &Segment<Ipv6>, port: &PortValue) -> Option<()> {
        answer::v6::reset(packet, segment, port)
    }

    #[inline(always)]
    fn unreachable<P: Packet>(packet: &mut P, segment: &Segment<Ipv6>, port: &PortValue) -> Option<()> {
        answer::v6::unreachable(packet, segment, port)
    }
}
