//! Frames: DHCP over UDP, IPv4 and Ethernet, and ARP (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use lb_common::net::Mac;
use lb_common::vip::LEASE_PORT;

use super::message::Reply;
use super::wire;

const SERVER_PORT: u16 = 67;
const TTL: u8 = 64;
const ARP: [u8; 2] = [0x08, 0x06];
const VLAN: [u8; 2] = [0x81, 0x00];
/// Behind the destination's and the source's MAC.
const TYPE_AT: usize = 12;
/// Hardware and protocol of ARP over Ethernet and IPv4, and the lengths of their addresses.
const ARP_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: [u8; 2] = [0, 1];

/// From whom to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The interface's MAC.
    pub from_mac: Mac,
    /// The address that the client uses; `None` while it has none.
    pub from: Option<Ipv4Addr>,
    /// The server and its next hop's MAC; `None` is everybody.
    pub to: Option<(Ipv4Addr, Mac)>,
    /// The VLAN; 0 is none.
    pub vlan: u16,
}

/// What was heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// A server's message, and the MAC that it came from: the server's or its relay's.
    Reply(Box<Reply>, Mac),
    /// Somebody's claim.
    Arp(Arp),
}

/// An ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Who says so.
    pub sender: Mac,
    /// The address that the sender says it has; `None` where it only asks.
    pub claimed: Option<Ipv4Addr>,
    /// The address that it asks for, or answers.
    pub target: Ipv4Addr,
    /// It asks.
    pub is_request: bool,
}

/// A DHCP message in a frame; empty where it is too long for one.
pub fn dhcp(message: &[u8], envelope: &Envelope) -> Vec<u8> {
    let (to, to_mac) = envelope.to.unwrap_or((Ipv4Addr::BROADCAST, Mac::BROADCAST));
    let from = envelope.from.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let builder = PacketBuilder::ethernet2(envelope.from_mac.0, to_mac.0)
        .ipv4(from.octets(), to.octets(), TTL)
        .udp(LEASE_PORT, SERVER_PORT);
    let mut frame = Vec::with_capacity(builder.size(message.len()));
    match builder.write(&mut frame, message) {
        Ok(()) => tagged(frame, envelope.vlan),
        Err(_) => Vec::new(),
    }
}

/// Asks whether anybody has the address, in nobody's name.
pub fn probe(address: Ipv4Addr, from: Mac, vlan: u16) -> Vec<u8> {
    arp(Ipv4Addr::UNSPECIFIED, address, from, vlan)
}

/// Tells everybody who has the address.
pub fn announcement(address: Ipv4Addr, from: Mac, vlan: u16) -> Vec<u8> {
    arp(address, address, from, vlan)
}

fn arp(claimed: Ipv4Addr, target: Ipv4Addr, from: Mac, vlan: u16) -> Vec<u8> {
    let mut frame = [Mac::BROADCAST.0, from.0].concat();
    frame.extend(ARP);
    frame.extend(ARP_ETHERNET);
    frame.extend(ARP_REQUEST);
    frame.extend(from.0);
    frame.extend(claimed.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    tagged(frame, vlan)
}

/// A frame with a VLAN's tag; 0 is none.
pub fn tagged(mut frame: Vec<u8>, vlan: u16) -> Vec<u8> {
    if vlan != 0 && frame.len() > TYPE_AT {
        let [high, low] = vlan.to_be_bytes();
        let [first, second] = VLAN;
        frame.splice(TYPE_AT..TYPE_AT, [first, second, high, low]);
    }
    frame
}

/// What a frame says, whose VLAN tag the kernel has taken off; `None` for what is no business of DHCP.
///
/// Checksums are not looked at: where sender and receiver share a machine, they are still to be filled in.
pub fn decode(frame: &[u8]) -> Option<Heard> {
    if frame.get(TYPE_AT..)?.starts_with(&ARP) {
        return decode_arp(frame.get(TYPE_AT + ARP.len()..)?).map(Heard::Arp);
    }
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    if !packet.link_exts.is_empty() || packet.is_ip_payload_fragmented() {
        return None;
    }
    let from = Mac(frame.get(6..TYPE_AT)?.try_into().ok()?);
    match (packet.net?, packet.transport?) {
        (NetSlice::Ipv4(_), TransportSlice::Udp(udp)) if udp.destination_port() == LEASE_PORT => {
            Some(Heard::Reply(Box::new(wire::decode(udp.payload())?), from))
        }
        _ => None,
    }
}

fn decode_arp(bytes: &[u8]) -> Option<Arp> {
    if !bytes.starts_with(&ARP_ETHERNET) {
        return None;
    }
    let address = |at: usize| {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    Some(Arp {
        sender: Mac(bytes.get(8..14)?.try_into().ok()?),
        claimed: address(14).filter(|address| !address.is_unspecified()),
        target: address(24)?,
        is_request: bytes.get(6..8)? == ARP_REQUEST,
    })
}

#[cfg(test)]
mod tests {
    use lb_common::csum::{fold, sum};
    use proptest::prelude::*;

    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const SERVER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

    fn answer() -> Vec<u8> {
        let message = wire::tests::reply(7, ADDRESS.octets(), &[(53, &[5])]);
        let builder = PacketBuilder::ethernet2(SERVER.0, OURS.0)
            .ipv4([192, 0, 2, 1], ADDRESS.octets(), 64)
            .udp(SERVER_PORT, LEASE_PORT);
        let mut frame = Vec::new();
        builder.write(&mut frame, &message).unwrap();
        frame
    }

    #[test]
    fn a_message_is_broadcast_until_there_is_an_address() {
        let frame = dhcp(b"message", &Envelope { from_mac: OURS, from: None, to: None, vlan: 0 });
        assert_eq!(frame[..14], [&Mac::BROADCAST.0[..], &OURS.0, &[8, 0]].concat());
        assert_eq!(frame[26..34], [0, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!((&frame[34..38], &frame[42..]), (&[0, 68, 0, 67][..], &b"message"[..]));
        assert_eq!(fold(sum(&frame[14..34])), 0xffff);
    }

    #[test]
    fn a_message_to_a_server_comes_from_the_address_in_use_and_may_be_tagged() {
        let to = Some(([192, 0, 2, 1].into(), SERVER));
        let frame = dhcp(b"message", &Envelope { from_mac: OURS, from: Some(ADDRESS), to, vlan: 7 });
        assert_eq!(frame[..18], [&SERVER.0[..], &OURS.0, &[0x81, 0, 0, 7, 8, 0]].concat());
        assert_eq!(frame[30..38], [192, 0, 2, 9, 192, 0, 2, 1]);
    }

    #[test]
    fn a_probe_claims_nothing_and_an_announcement_does() {
        let heard = |frame: Vec<u8>| match decode(&frame) {
            Some(Heard::Arp(arp)) => arp,
            other => panic!("{other:?}"),
        };
        let asked = Arp { sender: OURS, claimed: None, target: ADDRESS, is_request: true };
        assert_eq!(heard(probe(ADDRESS, OURS, 0)), asked);
        assert_eq!(heard(announcement(ADDRESS, OURS, 0)), Arp { claimed: Some(ADDRESS), ..asked });
        assert_eq!(decode(&probe(ADDRESS, OURS, 7)), None, "the kernel takes tags off");
    }

    #[test]
    fn an_answer_is_heard_with_the_mac_that_it_came_from() {
        let Some(Heard::Reply(reply, from)) = decode(&answer()) else { panic!("not heard") };
        assert_eq!((reply.xid, reply.address, from), (7, Some(ADDRESS), SERVER));
        let mut to_another_port = answer();
        to_another_port[37] = 69;
        assert_eq!(decode(&to_another_port), None);
    }

    proptest! {
        #[test]
        fn hostile_frames_are_heard_without_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            kind in prop::sample::select(vec![[8, 0], ARP, VLAN, [0x86, 0xdd]]),
        ) {
            let mut frame = bytes;
            if frame.len() > 14 {
                frame[TYPE_AT..14].copy_from_slice(&kind);
            }
            drop(decode(&frame));
        }

        #[test]
        fn a_damaged_frame_is_heard_without_harm(index in 0_usize..330, value: u8, cut in 0_usize..330) {
            let mut frame = answer();
            if let Some(byte) = frame.get_mut(index) {
                *byte = value;
            }
            frame.truncate(cut);
            drop(decode(&frame));
        }
    }
}
