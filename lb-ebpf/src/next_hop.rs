//! Next hops: where clients' packets came from, so that answers find the way back without a lookup.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::maglev::slot;
use lb_common::map;
use lb_common::net::Mac;
use lb_common::next_hop::NextHop;

use crate::flow::slot::compare_and_swap;

/// By index, of which 0 is nobody. An entry is claimed once, by compare-and-swap of its identity, and stays;
/// when all places that a neighbour hashes to are others', its flows have no next hop.
#[btf_map]
static NEXT_HOPS: Array<NextHop, { map::MAX_NEXT_HOPS as usize }> = Array::new();

/// Places in which a neighbour may stand.
const PROBES: u32 = 4;

/// The index of a neighbour whose packets have these VLANs, entered if it is new; 0 if there is no place. While
/// another CPU is entering it, it may get a second place.
#[inline(always)]
pub fn learn(mac: Mac, interface: u32, vlans: u32) -> u16 {
    let identity = NextHop::identity(mac, interface);
    for probe in 0..PROBES {
        let index = place(identity, vlans, probe);
        let Some(entry) = NEXT_HOPS.get_ptr_mut(u32::from(index)) else { return 0 };
        // SAFETY: the value of an array map; both fields are aligned and inside.
        let word = unsafe { &raw mut (*entry).identity };
        // SAFETY: as above; volatile, as other CPUs write it.
        let mut found = unsafe { word.read_volatile() };
        if found == 0 {
            // SAFETY: as above.
            if unsafe { compare_and_swap(word, 0, identity) } {
                // SAFETY: as above.
                let field = unsafe { &raw mut (*entry).vlans };
                // SAFETY: as above.
                unsafe { field.write_volatile(vlans) };
                // SAFETY: as above.
                let field = unsafe { &raw mut (*entry).ifindex };
                // SAFETY: as above.
                unsafe { field.write_volatile(interface) };
                return index;
            }
            // SAFETY: as above.
            found = unsafe { word.read_volatile() };
        }
        // SAFETY: as above. While its claimer is still writing, it has no interface.
        let hop = unsafe { entry.read_volatile() };
        if found == identity && hop.ifindex != 0 && hop.vlans == vlans {
            return index;
        }
    }
    0
}

/// The neighbour with this index; `None` for nobody, and while its claimer is still writing.
#[inline(always)]
pub fn get(index: u16) -> Option<&'static NextHop> {
    if index == 0 { None } else { NEXT_HOPS.get(u32::from(index)).filter(|hop| hop.ifindex != 0) }
}

/// Place number `probe` of an identity: never 0.
#[inline(always)]
const fn place(identity: u64, vlans: u32, probe: u32) -> u16 {
    let identity = identity ^ (vlans as u64) << 24;
    let hash = (identity.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
    1 + slot(hash.wrapping_add(probe.wrapping_mul(0x9e37_79b9)), map::MAX_NEXT_HOPS - 1) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_no_neighbour() {
        for byte in 0..=255 {
            let identity = NextHop::identity(Mac([2, 0, 0, 0, 0, byte]), 7);
            for probe in 0..PROBES {
                assert_ne!(place(identity, u32::from(byte), probe), 0);
            }
        }
    }
}
