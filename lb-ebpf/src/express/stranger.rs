//! Packets that are between strangers: no VIP and no backend has anything to do with them.

use lb_common::known::{Settings, place_v4, place_v6};

use crate::config;
use crate::headers::{ARP, IPV4, IPV6, Plain, QINQ, VLAN};
use crate::parse::{TCP, UDP};

/// May one of the addresses of an IPv4 packet be known? Those of a control message say nothing: what it is about is
/// inside it.
#[inline(always)]
pub(super) fn is_ours(plain: &Plain, known: &Settings) -> bool {
    let addresses = plain.addresses();
    known.knows(place_v4((addresses >> 32) as u32)) || known.knows(place_v4(addresses as u32))
}

/// Is a packet that is not simple IPv4 surely none of ours?
#[inline(always)]
pub(super) fn is_one(plain: &Plain) -> bool {
    match plain.kind {
        IPV4 | VLAN | QINQ => false,
        ARP => config::known().is_some_and(|known| !known.knows(place_v4(plain.asked()))),
        IPV6 => {
            let (from, to) = plain.addresses_v6();
            matches!(plain.next_v6(), TCP | UDP)
                && config::known()
                    .is_some_and(|known| !known.knows(place_v6(to)) && !known.knows(place_v6(from)))
        }
        _ => true,
    }
}
