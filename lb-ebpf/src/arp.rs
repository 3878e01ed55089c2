//! ARP: who has a VIP?

use lb_common::net::{Be16, Mac};
use lb_common::port::PortValue;
use lb_common::reason::Reason;
use lb_common::vip::ANSWER_ARP;

use crate::headers::{Arp, Ethernet, IPV4, SOURCE};
use crate::listener::Listeners as _;
use crate::packet::Packet;
use crate::stats;
use crate::verdict::Action;

const ETHERNET: Be16 = Be16::new(1);
const REQUEST: Be16 = Be16::new(1);
const REPLY: Be16 = Be16::new(2);

/// Offsets in the ARP packet.
const OPERATION: usize = 6;
const SENDER_MAC: usize = OPERATION + 2;
const SENDER: usize = SENDER_MAC + 6;
const TARGET_MAC: usize = SENDER + 4;
const TARGET: usize = TARGET_MAC + 6;

/// Answers a request for an owned VIP in its own frame. An announcement, in which sender and target are the
/// same, is none.
///
/// # Errors
///
/// `NotOurs` for everything else.
#[inline(always)]
pub fn answer<P: Packet>(packet: &mut P, port: &PortValue) -> Result<Action, Reason> {
    let start = packet.network();
    packet.pull(start + size_of::<Arp>());
    let addressed = packet.header::<Ethernet>(0).ok_or(Reason::NotOurs)?.destination;
    let arp: &Arp = packet.header(start).ok_or(Reason::NotOurs)?;
    let readable = arp.hardware == ETHERNET
        && arp.protocol == IPV4
        && arp.hardware_length == 6
        && arp.protocol_length == 4;
    let to_us = addressed == Mac::BROADCAST || addressed == port.mac;
    if !readable || !to_us || arp.operation != REQUEST || arp.sender == arp.target {
        return Err(Reason::NotOurs);
    }
    let (asker, asker_mac, vip) = (arp.sender, arp.sender_mac, arp.target);
    if vip.vip().ok_or(Reason::NotOurs)?.flags & ANSWER_ARP == 0 {
        return Err(Reason::NotOurs);
    }
    packet.store(start + OPERATION, &REPLY)?;
    packet.store(start + SENDER_MAC, &port.mac)?;
    packet.store(start + SENDER, &vip)?;
    packet.store(start + TARGET_MAC, &asker_mac)?;
    packet.store(start + TARGET, &asker)?;
    packet.store(0, &asker_mac)?;
    packet.store(SOURCE, &port.mac)?;
    stats::count(Reason::ArpAnswered);
    Ok(Action::Back)
}
