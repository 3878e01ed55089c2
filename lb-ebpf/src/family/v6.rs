//! IPv6 (RFC 8200).

use lb_common::backend::BackendValue;
use lb_common::csum::Delta;
use lb_common::net::{Be16, Ipv6};
use lb_common::port::PortValue;
use lb_common::reason::Reason;
use lb_common::stage::Stage;

use super::Family;
use crate::answer::Complaint;
use crate::extension::is_extension;
use crate::headers::{HeaderV6, IPV6};
use crate::journey::Step;
use crate::packet::Packet;
use crate::parse::{Fragment, Ip, Segment};
use crate::rewrite::Rewrite;
use crate::transmit::Order;
use crate::verdict::Action;
use crate::{account, answer, icmpv6, order};

/// IPv6.
pub struct V6;

impl Family for V6 {
    type Address = Ipv6;
    type Fixed = HeaderV6;
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
    fn read(ip: &HeaderV6, network: usize) -> Ip<Ipv6> {
        Ip {
            source: ip.source,
            destination: ip.destination,
            protocol: ip.next,
            transport: network + size_of::<HeaderV6>(),
            length: ip.length.get(),
            hops: ip.hops,
            fragment: Fragment::None,
            place: 0,
            identification: [0; 4],
            sound: ip.version >> 4 == 6,
        }
    }

    #[inline(always)]
    fn is_plain(ip: &Ip<Ipv6>) -> bool {
        !is_extension(ip.protocol)
    }

    #[inline(always)]
    fn locate<P: Packet>(packet: &mut P, ip: Ip<Ipv6>) -> Option<Ip<Ipv6>> {
        if Self::is_plain(&ip) {
            return Some(ip);
        }
        let chain = packet.extensions(ip.transport, ip.protocol)?;
        let length = chain.length();
        Some(Ip {
            transport: ip.transport + length,
            length: ip.length.wrapping_sub(length as u16),
            protocol: chain.protocol(),
            fragment: match (chain.place(), chain.more()) {
                // A packet that is one fragment is whole (RFC 6946).
                (0, false) => Fragment::None,
                (0, true) => Fragment::First,
                (_, _) => Fragment::Later,
            },
            place: chain.place(),
            identification: chain.identification(),
            sound: ip.sound && usize::from(ip.length) >= length,
            ..ip
        })
    }

    #[inline(always)]
    fn is_divisible<P: Packet>(_packet: &P) -> bool {
        false
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
    fn write(ip: &mut HeaderV6, rewrite: &Rewrite<Ipv6>) {
        ip.source = rewrite.to.source;
        ip.destination = rewrite.to.destination;
        ip.hops = rewrite.hops.after;
    }

    #[inline(always)]
    fn backend(backend: &BackendValue) -> Ipv6 {
        Ipv6::new(backend.address)
    }

    #[inline(always)]
    fn answerable(address: Ipv6) -> bool {
        // Not unspecified, loopback or multicast (RFC 4291 section 2.7).
        let (first, second) = address.halves();
        first.to_le_bytes()[0] != 0xff && (first != 0 || second & !1_u64.to_be() != 0)
    }

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        icmpv6::is_error(kind)
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
    fn account(_order: &Order<Ipv6>, bytes: u32) {
        account::lb_account_v6(bytes);
    }

    #[inline(always)]
    fn reset<P: Packet>(packet: &mut P, segment: &Segment<Ipv6>, port: &PortValue) -> Option<()> {
        answer::v6::reset(packet, segment, port)
    }

    #[inline(always)]
    fn error<P: Packet>(
        packet: &mut P,
        segment: &Segment<Ipv6>,
        port: &PortValue,
        complaint: Complaint,
    ) -> Option<()> {
        answer::v6::error(packet, segment, port, complaint)
    }
}
