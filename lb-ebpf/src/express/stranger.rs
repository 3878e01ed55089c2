//! Packets that are between strangers: no VIP and no backend has anything to do with them.

use lb_common::known::{Settings, place_v4, place_v6};

use crate::headers::{ARP, IPV4, IPV6, Plain, QINQ, VLAN};
use crate::parse::{TCP, UDP};

/// Is it neither IP nor ARP, nor tagged?
#[inline(always)]
pub(super) fn is_unheard_of(plain: &Plain) -> bool {
    !plain.is_simple_v4() && !matches!(plain.kind, IPV4 | ARP | IPV6 | VLAN | QINQ)
}

/// May one of the addresses of an IPv4 packet be known? Those of a control message say nothing: what it is about is
/// inside it.
#[inline(always)]
pub(super) fn is_ours(plain: &Plain, known: &Settings) -> bool {
    let addresses = plain.addresses();
    known.knows(place_v4((addresses >> 32) as u32)) || known.knows(place_v4(addresses as u32))
}

/// Is a packet that is not simple IPv4 surely none of ours?
#[inline(always)]
pub(super) fn is_one(plain: &Plain, known: &Settings) -> bool {
    match plain.kind {
        IPV4 | VLAN | QINQ => false,
        ARP => !known.knows(place_v4(plain.asked())),
        IPV6 => {
            let (from, to) = plain.addresses_v6();
            matches!(plain.next_v6(), TCP | UDP) && !known.knows(place_v6(to)) && !known.knows(place_v6(from))
        }
        _ => true,
    }
}
