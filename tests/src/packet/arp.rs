//! ARP for IPv4 over Ethernet (RFC 826).

use lb_common::net::{Ipv4, Mac};

use super::Frame;

/// An ARP packet in its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    ethernet: (Mac, Mac),
    operation: u16,
    sender: (Mac, Ipv4),
    target: (Mac, Ipv4),
}

/// Who has `target`? Asked by `sender`, of everybody.
pub fn arp_request(sender: (Mac, Ipv4), target: Ipv4) -> Arp {
    Arp { ethernet: (sender.0, Mac::BROADCAST), operation: 1, sender, target: (Mac::default(), target) }
}

impl Arp {
    /// The answer to this request: what was asked for is at `mac`.
    #[must_use]
    pub fn answered(self, mac: Mac) -> Self {
        Self {
            ethernet: (mac, self.sender.0),
            operation: 2,
            sender: (mac, self.target.1),
            target: self.sender,
        }
    }

    /// Asked of one neighbour, as when a known one is confirmed.
    #[must_use]
    pub fn unicast(self, destination: Mac) -> Self {
        Self { ethernet: (self.ethernet.0, destination), ..self }
    }
}

impl Frame for Arp {
    fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.ethernet.1.0);
        frame.extend(self.ethernet.0.0);
        frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4]);
        frame.extend(self.operation.to_be_bytes());
        for (mac, address) in [self.sender, self.target] {
            frame.extend(mac.0);
            frame.extend(address.0);
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{ArpOperation, NetSlice, SlicedPacket};

    use super::*;

    #[test]
    fn request_and_answer_are_what_etherparse_reads() {
        let (client, node) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let request = arp_request((client, Ipv4([198, 51, 100, 10])), Ipv4([203, 0, 113, 80]));
        for (arp, operation, to) in [
            (request, ArpOperation::REQUEST, Mac::BROADCAST),
            (request.answered(node), ArpOperation::REPLY, client),
        ] {
            let bytes = arp.bytes();
            let read = SlicedPacket::from_ethernet(&bytes).expect("a sound frame");
            assert_eq!(bytes[..6], to.0);
            let Some(NetSlice::Arp(packet)) = read.net else { panic!("no ARP: {read:?}") };
            assert_eq!(packet.operation(), operation);
            assert_eq!(packet.sender_protocol_addr(), arp.sender.1.0);
            assert_eq!(packet.sender_hw_addr(), arp.sender.0.0);
            assert_eq!(packet.target_protocol_addr(), arp.target.1.0);
        }
    }
}
