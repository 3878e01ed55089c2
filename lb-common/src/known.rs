//! Addresses that programs have to do with: VIPs and backends. Most packets of a host are neither's, and one look
//! into a small table tells so.

use crate::abi;
use crate::config::ConfigValue;
use crate::hash::GOLDEN;

/// Places of the table: so many that few strangers share one with somebody known.
pub const PLACES: usize = 1 << 16;

/// In a place: a backend has such an address.
pub const BACKEND: u8 = 1;
/// In a place: a VIP has such an address.
pub const VIP: u8 = 2;

/// Value of CONFIG: what tunes the programs, and whom they know, with one look-up for both.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Settings {
    /// See there.
    pub config: ConfigValue,
    /// By [`place_v4`] or [`place_v6`]: [`BACKEND`] and [`VIP`], as the addresses of a place are. An address that
    /// is nobody's any more may stay: its packets are looked at in vain.
    pub known: [u8; PLACES],
    /// 1 while datagrams to VIPs begin flows rather than follow them. Written by the programs.
    pub fresh: u64,
}

impl Settings {
    /// May an address be a VIP or a backend?
    #[inline(always)]
    pub fn knows(&self, place: u16) -> bool {
        self.known.get(usize::from(place)).is_some_and(|known| *known != 0)
    }

    /// May an address be a VIP?
    #[inline(always)]
    pub fn may_be_vip(&self, place: u16) -> bool {
        self.known.get(usize::from(place)).is_some_and(|known| *known & VIP != 0)
    }
}

/// The place of an IPv4 address, given as the machine would load it. Nobody gains by sharing a place, so this hash has no
/// key.
#[inline(always)]
pub const fn place_v4(address: u32) -> u16 {
    ((u32::from_be(address) as u64).wrapping_mul(GOLDEN) >> 48) as u16
}

/// The place of an IPv6 address, given by its halves as the machine would load them.
#[inline(always)]
pub const fn place_v6((first, second): (u64, u64)) -> u16 {
    // The halves are kept apart by the shift: a network has the same first one everywhere.
    ((first.wrapping_mul(GOLDEN) >> 16 ^ u64::from_be(second)).wrapping_mul(GOLDEN) >> 48) as u16
}

abi!(Settings, 200 + PLACES);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn neighbours_do_not_share_places() {
        let of_v4: BTreeSet<u16> = (0..4096)
            .map(|host: u32| place_v4(u32::from_ne_bytes((0xc612_0000 + host).to_be_bytes())))
            .collect();
        assert!(of_v4.len() > 3500, "{}", of_v4.len());
        let prefix = u64::from_ne_bytes([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0]);
        let of_v6: BTreeSet<u16> = (0..4096_u64).map(|host| place_v6((prefix, host.to_be()))).collect();
        assert!(of_v6.len() > 3500, "{}", of_v6.len());
    }
}
