//! Asks the network who else has a VIP: the one check that sends something (RFC 5227).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use lb_common::net::Mac;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::ground::Ground;
use super::model::{Check, Finding, Severity};
use crate::datapath::port::Role;

/// How long others may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks on every uplink for every VIP that the agent serves.
pub fn other_holders(ground: &Ground) -> Vec<Finding> {
    let vips: Vec<Ipv4Addr> = ground.vips().into_iter().filter_map(v4).collect();
    let mut findings = Vec::new();
    for uplink in ground.interfaces.iter().filter(|interface| interface.role == Role::Uplink) {
        match ask(&uplink.name, &vips) {
            Ok(answers) => findings.extend(answers.into_iter().map(|(vip, mac)| {
                let found = format!("{} answers for this VIP on {}", written(mac), uplink.name);
                Finding::new(Severity::Problem, Check::Addresses, vip.to_string(), found)
                    .why("clients reach now the one, now the other; find that host, or give the VIP back")
            })),
            Err(error) => findings.push(
                Finding::new(
                    Severity::Warning,
                    Check::Addresses,
                    &uplink.name,
                    format!("no probe sent: {error}"),
                )
                .why("whether another host has a VIP is not known"),
            ),
        }
    }
    findings
}

fn written(mac: Mac) -> String {
    mac.0.map(|byte| format!("{byte:02x}")).join(":")
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// The MACs that answer for these addresses on an interface.
fn ask(interface: &str, vips: &[Ipv4Addr]) -> io::Result<BTreeSet<(Ipv4Addr, Mac)>> {
    let address = link_address(interface)?;
    let own = Mac(address.addr().unwrap_or_default());
    let all = SockProtocol::EthAll;
    let door = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, all)?;
    bind(door.as_raw_fd(), &address)?;
    setsockopt(&door, ReceiveTimeout, &TimeVal::milliseconds(50))?;
    for &vip in vips {
        send(door.as_raw_fd(), &request(own, vip), MsgFlags::empty())?;
    }
    let mut answers = BTreeSet::new();
    let deadline = Instant::now() + PATIENCE;
    let mut frame = [0; 64];
    while Instant::now() < deadline {
        match recv(door.as_raw_fd(), &mut frame, MsgFlags::MSG_TRUNC) {
            Ok(length) => {
                let frame = frame.get(..length.min(frame.len())).unwrap_or_default();
                answers.extend(answer(frame).filter(|(vip, mac)| vips.contains(vip) && *mac != own));
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(answers)
}

fn link_address(interface: &str) -> io::Result<LinkAddr> {
    let found = getifaddrs()?.filter(|one| one.interface_name == interface);
    let mut links = found.filter_map(|one| one.address.as_ref().and_then(|a| a.as_link_addr()).copied());
    links.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

const ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Who has `vip`? From nobody's address, so that no neighbour table changes.
fn request(own: Mac, vip: Ipv4Addr) -> Vec<u8> {
    let parts: [&[u8]; 9] =
        [&[0xff; 6], &own.0, &ARP, &KIND, &REQUEST, &own.0, &[0; 4], &[0; 6], &vip.octets()];
    parts.concat()
}

/// The address and its holder in an answer.
fn answer(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let is_answer = frame.get(12..14)? == ARP && frame.get(14..20)? == KIND && frame.get(20..22)? == REPLY;
    let mac: [u8; 6] = frame.get(22..28)?.try_into().ok()?;
    let address: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    is_answer.then_some((address.into(), Mac(mac)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_requests_and_fragments_of_frames() {
        let (mac, vip) = (Mac([2, 0, 0, 0, 0, 9]), Ipv4Addr::new(192, 0, 2, 200));
        let mut frame = request(mac, vip);
        assert_eq!(frame.len(), 42);
        assert_eq!(answer(&frame), None);
        frame[21] = 2;
        frame[28..32].copy_from_slice(&vip.octets());
        assert_eq!(answer(&frame), Some((vip, mac)));
        for length in 0..32 {
            assert_eq!(answer(&frame[..length]), None, "{length}");
        }
    }
}
