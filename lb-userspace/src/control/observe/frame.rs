//! Frames: built for questions, and put into words.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use etherparse::TcpHeader;
use etherparse::{LaxPacketHeaders, NetHeaders, PacketBuilder, PacketBuilderStep, TransportHeader};
use lb_common::net::Protocol;

/// A client behind nobody's interface: a locally administered address.
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Left for the interface's own.
const UNSET: [u8; 6] = [0; 6];
const TTL: u8 = 64;
const WINDOW: u16 = 64_240;

/// What a TCP segment has set.
#[expect(clippy::struct_excessive_bools, reason = "flags, as TCP has them")]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Flags {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) psh: bool,
}

impl Flags {
    /// `SYN`, `SYN|ACK`, `FIN,ACK`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut flags = Self::default();
        for word in text.split(['|', ',']) {
            match word.trim().to_ascii_uppercase().as_str() {
                "SYN" => flags.syn = true,
                "ACK" => flags.ack = true,
                "FIN" => flags.fin = true,
                "RST" => flags.rst = true,
                "PSH" => flags.psh = true,
                _ => return None,
            }
        }
        Some(flags)
    }
}

/// A frame with `size` bytes of payload, all checksums right. `None` for addresses of two families.
pub(super) fn build(
    protocol: Protocol,
    source: SocketAddr,
    destination: SocketAddr,
    flags: Flags,
    size: usize,
) -> Option<Vec<u8>> {
    let ethernet = PacketBuilder::ethernet2(CLIENT, UNSET);
    let ip: PacketBuilderStep<_> = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ethernet.ipv4(source.octets(), destination.octets(), TTL)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ethernet.ipv6(source.octets(), destination.octets(), TTL)
        }
        _ => return None,
    };
    let payload = vec![0; size];
    let mut frame = Vec::new();
    match protocol {
        Protocol::Udp => ip.udp(source.port(), destination.port()).write(&mut frame, &payload).ok()?,
        Protocol::Tcp => {
            let mut header = TcpHeader::new(source.port(), destination.port(), 1, WINDOW);
            (header.syn, header.ack, header.fin) = (flags.syn, flags.ack, flags.fin);
            (header.rst, header.psh) = (flags.rst, flags.psh);
            ip.tcp_header(header).write(&mut frame, &payload).ok()?;
        }
    }
    Some(frame)
}

/// The beginning of a frame, or all of it, in one line: addresses, ports, protocol.
pub(super) fn words(bytes: &[u8]) -> String {
    let Ok(packet) = LaxPacketHeaders::from_ethernet(bytes) else {
        return format!("{} bytes that are no IP packet", bytes.len());
    };
    let (source, destination, hops, number) = match &packet.net {
        Some(NetHeaders::Ipv4(ip, _)) => {
            (IpAddr::from(ip.source), IpAddr::from(ip.destination), ip.time_to_live, ip.protocol)
        }
        Some(NetHeaders::Ipv6(ip, _)) => {
            (IpAddr::from(ip.source), IpAddr::from(ip.destination), ip.hop_limit, ip.next_header)
        }
        Some(NetHeaders::Arp(_)) => return "ARP".to_owned(),
        None => return format!("{} bytes that are no IP packet", bytes.len()),
    };
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = match &packet.transport {
        Some(TransportHeader::Tcp(tcp)) => {
            write!(text, "TCP {} → {}", at(source, tcp.source_port), at(destination, tcp.destination_port))
                .and_then(|()| write!(text, " [{}]", set(tcp)))
        }
        Some(TransportHeader::Udp(udp)) => {
            write!(text, "UDP {} → {}", at(source, udp.source_port), at(destination, udp.destination_port))
        }
        Some(TransportHeader::Icmpv4(_)) => write!(text, "ICMP {source} → {destination}"),
        Some(TransportHeader::Icmpv6(_)) => write!(text, "ICMPv6 {source} → {destination}"),
        Some(TransportHeader::Igmp(_)) | None => {
            write!(text, "protocol {} {source} → {destination}", number.0)
        }
    };
    let _ = write!(text, ", TTL {hops}");
    if let Some(ethernet) = packet.link.and_then(etherparse::LinkHeader::ethernet2) {
        let _ = write!(text, ", {} → {}", mac(ethernet.source), mac(ethernet.destination));
    }
    text
}

/// The addresses from and to which a frame with this beginning goes; `None` where it is no IP packet.
pub(super) fn ends(bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match LaxPacketHeaders::from_ethernet(bytes).ok()?.net? {
        NetHeaders::Ipv4(ip, _) => Some((ip.source.into(), ip.destination.into())),
        NetHeaders::Ipv6(ip, _) => Some((ip.source.into(), ip.destination.into())),
        NetHeaders::Arp(_) => None,
    }
}

fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::from((address, port))
}

fn set(tcp: &TcpHeader) -> String {
    let flags = [("SYN", tcp.syn), ("ACK", tcp.ack), ("FIN", tcp.fin), ("RST", tcp.rst), ("PSH", tcp.psh)];
    flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect::<Vec<_>>().join(",")
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_is_read_back() {
        for (source, destination) in
            [("192.0.2.50:40000", "192.0.2.200:80"), ("[2001:db8::50]:40000", "[2001:db8::200]:80")]
        {
            let (from, to) = (source.parse().unwrap(), destination.parse().unwrap());
            let syn = Flags::parse("syn").unwrap();
            let frame = build(Protocol::Tcp, from, to, syn, 10).unwrap();
            assert_eq!(
                words(&frame),
                format!("TCP {source} → {destination} [SYN], TTL 64, 02:00:00:00:00:01 → 00:00:00:00:00:00")
            );
            let frame = build(Protocol::Udp, from, to, syn, 0).unwrap();
            assert!(words(&frame).starts_with(&format!("UDP {source} → {destination}, TTL 64")));
            // Of long frames the beginning is kept.
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let whole = build(protocol, from, to, syn, 1400).unwrap();
                for kept in [128, 256] {
                    assert_eq!(words(&whole[..kept]), words(&whole));
                    assert_eq!(ends(&whole[..kept]), Some((from.ip(), to.ip())));
                }
            }
        }
        let mixed = ["192.0.2.50:1".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap()];
        assert_eq!(build(Protocol::Udp, mixed[0], mixed[1], Flags::default(), 0), None);
        assert_eq!(words(&[1, 2, 3]), "3 bytes that are no IP packet");
        assert_eq!(Flags::parse("SYN|URG"), None);
    }
}
