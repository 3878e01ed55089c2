//! Announcements as frames.

use std::net::{IpAddr, Ipv6Addr};

use lb_common::csum::{fold, sum};
use lb_common::net::Mac;

use super::model::Announcement;
use crate::ipam::dhcp::frame;

const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
/// Only whoever is on the link can have sent a packet that arrives with so many (RFC 4861 section 7.1.2).
const HOPS: u8 = 255;
const ADVERTISEMENT: u8 = 136;
/// Takes the place of what was known.
const OVERRIDE: u8 = 0x20;
const LINK_ADDRESS: u8 = 2;
/// Of the message and its option.
const LENGTH: u8 = 32;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// The whole frame.
pub(super) fn frame(announcement: &Announcement) -> Vec<u8> {
    match announcement.vip {
        IpAddr::V4(vip) => frame::announcement(vip, announcement.mac, announcement.vlan),
        IpAddr::V6(vip) => frame::tagged(advertisement(vip, announcement.mac), announcement.vlan),
    }
}

fn advertisement(vip: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(vip.octets());
    message.extend([LINK_ADDRESS, 1]);
    message.extend(mac.0);
    let addresses = [vip.octets(), ALL_NODES.octets()].concat();
    let covered = [&addresses, &message[..], &[0, 0, 0, LENGTH, 0, 0, 0, ICMPV6]].concat();
    message.splice(2..4, (!fold(sum(&covered))).to_ne_bytes());

    let mut frame = [ALL_NODES_MAC, mac.0].concat();
    frame.extend(IPV6);
    frame.extend([0x60, 0, 0, 0, 0, LENGTH, ICMPV6, HOPS]);
    frame.extend(addresses);
    frame.extend(message);
    frame
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 7]);

    #[test]
    fn an_advertisement_is_read_as_it_is_meant() {
        let vip: Ipv6Addr = "2001:db8::80".parse().unwrap();
        let frame = frame(&Announcement { ifindex: 2, mac: OURS, vip: vip.into(), vlan: 0 });
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("{packet:?}") };
        let header = ip.header();
        assert_eq!((header.source_addr(), header.destination_addr()), (vip, ALL_NODES));
        assert_eq!((header.hop_limit(), ip.payload().payload.len()), (HOPS, usize::from(LENGTH)));
        let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("no ICMPv6") };
        assert!(icmp.is_checksum_valid(header.source(), header.destination()));
        let Icmpv6Type::NeighborAdvertisement(flags) = icmp.icmp_type() else { panic!("{icmp:?}") };
        assert!(flags.r#override && !flags.solicited && !flags.router);
        assert_eq!(icmp.payload()[..16], vip.octets());
        assert_eq!(icmp.payload()[16..], [&[LINK_ADDRESS, 1], &OURS.0[..]].concat());
        assert_eq!(frame[..12], [ALL_NODES_MAC, OURS.0].concat());
    }

    #[test]
    fn in_a_vlan_it_is_the_same_behind_a_tag() {
        for vip in [IpAddr::from([192, 0, 2, 80]), "2001:db8::80".parse().unwrap()] {
            let [plain, tagged] =
                [0, 7].map(|vlan| frame(&Announcement { ifindex: 2, mac: OURS, vip, vlan }));
            assert_eq!(tagged, [&plain[..12], &[0x81, 0, 0, 7], &plain[12..]].concat());
        }
    }
}
