//! Two frames side by side, field by field.

use std::fmt::Write as _;
use std::ops::Range;

/// How `actual` differs from `expected`: a line a field, those that differ marked; `None` where they are the
/// same.
pub fn difference(expected: &[u8], actual: &[u8]) -> Option<String> {
    if expected == actual {
        return None;
    }
    let mut text = format!("the frames differ ({} bytes expected, {} seen):\n", expected.len(), actual.len());
    for (name, range) in fields(expected, actual.len()) {
        let (wanted, seen) = (part(expected, &range), part(actual, &range));
        let mark = if wanted == seen { ' ' } else { '*' };
        let line = format!("{mark} {:>4} {name:<22} {}", range.start, hex(wanted));
        let _ = if mark == '*' {
            writeln!(text, "{line}\n       {:<22} {}", "seen", hex(seen))
        } else {
            writeln!(text, "{line}")
        };
    }
    Some(text)
}

fn part<'a>(frame: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    &frame[range.start.min(frame.len())..range.end.min(frame.len())]
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

const ETHERNET: [(&str, usize); 2] = [("Ethernet destination", 6), ("Ethernet source", 6)];
const TAG: [(&str, usize); 1] = [("VLAN tag", 4)];
const ETHER_TYPE: [(&str, usize); 1] = [("EtherType", 2)];
const IPV6: [(&str, usize); 6] = [
    ("IPv6 version, class", 4),
    ("IPv6 payload length", 2),
    ("IPv6 next header", 1),
    ("IPv6 hop limit", 1),
    ("IPv6 source", 16),
    ("IPv6 destination", 16),
];
const IPV4: [(&str, usize); 10] = [
    ("IP version, length", 1),
    ("IP service", 1),
    ("IP total length", 2),
    ("IP identification", 2),
    ("IP fragment", 2),
    ("IP TTL", 1),
    ("IP protocol", 1),
    ("IP checksum", 2),
    ("IP source", 4),
    ("IP destination", 4),
];
const TCP: [(&str, usize); 8] = [
    ("source port", 2),
    ("destination port", 2),
    ("TCP sequence", 4),
    ("TCP acknowledgement", 4),
    ("TCP length, flags", 2),
    ("TCP window", 2),
    ("TCP checksum", 2),
    ("TCP urgent", 2),
];
const UDP: [(&str, usize); 4] =
    [("source port", 2), ("destination port", 2), ("UDP length", 2), ("UDP checksum", 2)];
const ICMP: [(&str, usize); 4] = [("ICMP type", 1), ("ICMP code", 1), ("ICMP checksum", 2), ("ICMP rest", 4)];
const ARP: [(&str, usize); 6] = [
    ("ARP kinds", 6),
    ("ARP operation", 2),
    ("ARP sender MAC", 6),
    ("ARP sender", 4),
    ("ARP target MAC", 6),
    ("ARP target", 4),
];

/// The fields of a frame, and what is left of the longer of both as the payload.
fn fields(frame: &[u8], other: usize) -> Vec<(&'static str, Range<usize>)> {
    let mut found = Vec::new();
    let mut end = 0;
    let mut push = |names: &[(&'static str, usize)]| {
        for &(name, length) in names {
            found.push((name, end..end + length));
            end += length;
        }
    };
    push(&ETHERNET);
    let mut kind = 12;
    while let Some([0x81, 0x00] | [0x88, 0xa8]) = frame.get(kind..kind + 2) {
        push(&TAG);
        kind += 4;
    }
    push(&ETHER_TYPE);
    let ip = kind + 2;
    let carried = match frame.get(kind..ip) {
        Some([0x08, 0x06]) => {
            push(&ARP);
            None
        }
        Some([0x08, 0x00]) => {
            push(&IPV4);
            let options = usize::from(frame.get(ip).map_or(5, |byte| byte & 0xf)) * 4;
            if options > 20 {
                push(&[("IP options", options - 20)]);
            }
            frame.get(ip + 9)
        }
        Some([0x86, 0xdd]) => {
            push(&IPV6);
            frame.get(ip + 6)
        }
        _ => None,
    };
    match carried {
        Some(6) => push(&TCP),
        Some(17) => push(&UDP),
        Some(1 | 58) => push(&ICMP),
        _ => {}
    }
    let length = frame.len().max(other);
    if end < length {
        found.push(("payload", end..length));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Frame as _, packet, packet_v6};
    use super::*;

    #[test]
    fn the_changed_field_is_named() {
        let sent = packet().udp();
        assert_eq!(difference(&sent.bytes(), &sent.bytes()), None);
        let text = difference(&sent.bytes(), &sent.clone().ttl(63).bytes()).expect("a difference");
        let marked: Vec<_> = text.lines().filter(|line| line.starts_with('*')).collect();
        assert!(marked.iter().any(|line| line.contains("IP TTL")), "{text}");
        assert!(marked.iter().all(|line| line.contains("IP ")), "{text}");
    }

    #[test]
    fn tags_and_ipv6_are_told_apart() {
        let sent = packet_v6().udp().tagged(7);
        let text = difference(&sent.bytes(), &sent.clone().ttl(63).bytes()).expect("a difference");
        let marked: Vec<_> = text.lines().filter(|line| line.starts_with('*')).collect();
        assert!(matches!(marked[..], [line] if line.contains("IPv6 hop limit")), "{text}");
    }

    #[test]
    fn a_shorter_frame_is_shown_as_such() {
        let bytes = packet().udp().payload(b"abc").bytes();
        let text = difference(&bytes, &bytes[..44]).expect("a difference");
        assert!(text.contains("45 bytes expected, 44 seen"), "{text}");
        assert!(text.contains("61 62 63"), "{text}");
    }
}
