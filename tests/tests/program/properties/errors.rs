//! What an ICMP error about a balanced packet says to who sent it.

use std::cell::Cell;

use lb_tests::packet::{TIME_EXCEEDED, UNREACHABLE};

use super::*;

/// A router behind the node.
const ROUTER: (Ipv4, u16) = (Ipv4([192, 0, 2, 1]), 0);

prop_compose! {
    /// Kind and last word of an error, how much of the packet's transport part it quotes, and whether the server
    /// itself sends it.
    fn error()(
        exceeded: bool, code in 0_u8..16, rest: [u8; 4], quoted in prop_oneof![Just(8_usize), 8_usize..200],
        of_the_server: bool,
    ) -> ((u8, u8), [u8; 4], usize, bool) {
        // Half a checksum is left as it is.
        let quoted = if quoted == 17 { 18 } else { quoted };
        ((if exceeded { TIME_EXCEEDED } else { UNREACHABLE }, code), rest, quoted, of_the_server)
    }
}

/// An error about a frame that the server's side has seen.
fn about(
    seen: &[u8],
    ((kind, code), rest, quoted, of_the_server): ((u8, u8), [u8; 4], usize, bool),
) -> (Packet, usize) {
    let header = usize::from(seen[14] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([seen[16], seen[17]]));
    let length = total.min(header + quoted);
    let address = |at: usize| Ipv4([seen[at], seen[at + 1], seen[at + 2], seen[at + 3]]);
    let server = (address(30), 0);
    let error = packet()
        .from(if of_the_server { server } else { ROUTER })
        .to((address(26), 0))
        .icmp(kind, code, rest)
        .payload(&seen[14..14 + length]);
    (error, length)
}

/// The error as the client has to see it.
fn expected(error: Packet, sent: &Packet, length: usize, of_the_server: bool) -> Packet {
    let error = error.to((sent.source().0, 0)).payload(&sent.bytes()[14..14 + length]);
    if of_the_server { error.from((VIP, 0)) } else { error }
}

#[test]
fn an_error_quotes_exactly_what_the_client_sent() {
    let cases = (sound(), error());
    check(&bridge().buckets(65_536), &Hook::INGRESS, &cases, |rig, ((sent, _), kind)| {
        let seen = rig.when(&sent);
        prop_assert!(seen.is(Pass));
        let (error, length) = about(&seen.frame, kind);
        let error = error.ethernet(SERVER_MAC, CLIENT_MAC);
        let told = rig.at_egress(&error);
        prop_assert!(told.is(Pass));
        prop_assert_eq!(&told.frame, &expected(error, &sent, length, kind.3).bytes());
        Ok(())
    });
}

#[test]
fn a_masqueraded_flows_error_quotes_exactly_what_the_client_sent() {
    let ports = Ports(Cell::new(0));
    let cases = (sound(), error());
    check(&stick().buckets(65_536), &Hook::INGRESS, &cases, |rig, ((sent, _), kind)| {
        let sent = sent.clone().from((sent.source().0, ports.next(rig)));
        let seen = rig.when(&sent);
        prop_assert!(seen.is(Back));
        let (error, length) = about(&seen.frame, kind);
        let error = error.ethernet(SERVER_MAC, NODE_MAC);
        let told = rig.when(&error);
        prop_assert!(told.is(Back));
        let expected = expected(error, &sent, length, kind.3).ethernet(NODE_MAC, CLIENT_MAC);
        prop_assert_eq!(&told.frame, &expected.bytes());
        Ok(())
    });
}
