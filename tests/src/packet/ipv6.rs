//! IPv6, as far as packets are needed that must be let alone.

use lb_common::net::{Ipv6, Mac};

/// An IPv6 packet with this next header and payload.
pub fn ipv6(macs: (Mac, Mac), source: Ipv6, destination: Ipv6, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(macs.1.0);
    frame.extend(macs.0.0);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(payload.len()).expect("a payload below 64 KiB").to_be_bytes());
    frame.extend([next_header, 64]);
    frame.extend(source.0);
    frame.extend(destination.0);
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket};

    use super::*;

    #[test]
    fn it_is_what_etherparse_reads() {
        let (from, to) = (Ipv6([0x20; 16]), Ipv6([0x21; 16]));
        let bytes = ipv6((Mac([2; 6]), Mac([4; 6])), from, to, 17, &[0x9c, 0x40, 0, 53, 0, 8, 0, 0]);
        let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
        let Some(NetSlice::Ipv6(ip)) = read.net else { panic!("no IPv6: {read:?}") };
        assert_eq!((ip.header().source(), ip.header().destination()), (from.0, to.0));
        assert!(read.transport.is_some());
    }
}
