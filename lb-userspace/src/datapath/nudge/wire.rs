//! A nudge as bytes: a bare TCP SYN with its IP header.

use std::net::{IpAddr, SocketAddr};

use lb_common::csum::{fold, sum};

use super::model::Nudge;

const TCP: u8 = 6;
const TTL: u8 = 64;
const SYN: u8 = 2;
const TCP_HEADER: u8 = 20;

/// The whole packet; `None` for addresses of two families. The sequence number is of no account: a SYN is
/// challenged whatever it says.
pub(super) fn packet(nudge: &Nudge) -> Option<Vec<u8>> {
    let header = ip_header(nudge.vip.ip(), nudge.client.ip())?;
    let segment = segment(nudge.vip, nudge.client);
    Some([header, segment].concat())
}

fn ip_header(source: IpAddr, destination: IpAddr) -> Option<Vec<u8>> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            const LENGTH: u8 = 20 + TCP_HEADER;
            let mut header = vec![0x45, 0, 0, LENGTH, 0, 0, 0x40, 0, TTL, TCP, 0, 0];
            header.extend(source.octets());
            header.extend(destination.octets());
            let check = checksum(&header);
            header.splice(10..12, check);
            Some(header)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, TCP_HEADER, TCP, TTL];
            header.extend(source.octets());
            header.extend(destination.octets());
            Some(header)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

fn segment(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut segment = Vec::with_capacity(usize::from(TCP_HEADER));
    segment.extend(source.port().to_be_bytes());
    segment.extend(destination.port().to_be_bytes());
    // Sequence number, acknowledgment, header length, flags, window, checksum, urgent pointer.
    segment.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, SYN, 0, 0, 0, 0, 0, 0]);
    let mut covered = segment.clone();
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(v4) => covered.extend(v4.octets()),
            IpAddr::V6(v6) => covered.extend(v6.octets()),
        }
    }
    covered.extend([0, TCP, 0, TCP_HEADER]);
    segment.splice(16..18, checksum(&covered));
    segment
}

/// The Internet checksum of an even number of bytes (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    (!fold(sum(bytes))).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_add_up() {
        let nudge =
            |client: &str, vip: &str| Nudge { client: client.parse().unwrap(), vip: vip.parse().unwrap() };
        let v4 = packet(&nudge("198.51.100.10:40000", "203.0.113.80:80")).unwrap();
        assert_eq!((v4.len(), fold(sum(&v4[..20]))), (40, 0xffff));
        let pseudo = [&v4[12..20], &[0, TCP, 0, 20], &v4[20..]].concat();
        assert_eq!(fold(sum(&pseudo)), 0xffff);
        assert_eq!((&v4[20..24], v4[33]), (&[0, 80, 156, 64][..], SYN));
        let v6 = packet(&nudge("[2001:db8::10]:40000", "[2001:db8::80]:80")).unwrap();
        let pseudo = [&v6[8..40], &[0, TCP, 0, 20], &v6[40..]].concat();
        assert_eq!((v6.len(), fold(sum(&pseudo))), (60, 0xffff));
        assert!(packet(&nudge("[2001:db8::10]:40000", "203.0.113.80:80")).is_none());
    }
}
