//! Next hops: where a client's packets came from, learned by the datapath and used for the answers.

use crate::abi;
use crate::net::{Mac, Station};

/// Value of NEXT_HOPS; the key is the index in a flow, 0 is nobody.
///
/// Written by the datapath: a slot is claimed once by compare-and-swap of `identity` from 0, then `vlans` and
/// `ifindex` are written, in this order. It never changes hands while the map lives, so a reader needs no check
/// but that `ifindex` is there.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NextHop {
    /// MAC in the low 48 bits (first byte lowest), the low 16 bits of the interface index above.
    pub identity: u64,
    /// Interface index: 0 until the claimer has written it.
    pub ifindex: u32,
    /// The VLANs of its packets: the id of the innermost tag in the low half, of one outside it in the high half.
    pub vlans: u32,
}

impl NextHop {
    /// The identity of a neighbour behind an interface.
    #[inline(always)]
    pub const fn identity(mac: Mac, ifindex: u32) -> u64 {
        Station::new(mac, ifindex as u16).0
    }

    /// The neighbour's MAC as a word of a frame.
    #[inline(always)]
    pub const fn station(&self) -> Station {
        Station(self.identity)
    }

    /// The neighbour's MAC.
    #[inline(always)]
    pub const fn mac(&self) -> Mac {
        self.station().mac()
    }
}

abi!(NextHop, 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_keeps_the_mac() {
        let mac = Mac([2, 0, 0, 0, 1, 0xfe]);
        let hop = NextHop { identity: NextHop::identity(mac, 0x1_0007), ifindex: 0x1_0007, vlans: 0 };
        assert_eq!(hop.mac(), mac);
        assert_ne!(hop.identity, NextHop::identity(mac, 8));
    }
}
