//! Tables (Maglev, NSDI '16).

use aya_ebpf::bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE};
use aya_ebpf::btf_maps::{Array, ArrayOfMaps};
use aya_ebpf::macros::btf_map;
use lb_common::maglev::{pairs, slot};
use lb_common::map;

use crate::backend;

/// By listener index. The agent writes into an inner array a word at a time, or replaces it whole where the number of
/// slots is another: a packet, which looks at single slots, sees each as it was or as it is.
/// `BPF_F_INNER_MAP` (5.10) lets tables differ in size. Two slots as in [`lb_common::maglev::SlotPair`], but not as a
/// struct: Linux 6.1 takes a map whose values are known to be structs, and one of which it knows nothing, as the
/// agent's tables, for maps of different kinds.
#[btf_map]
static MAGLEV: ArrayOfMaps<
    Array<[u32; 2], { pairs(map::MAGLEV_SLOTS) as usize }, { (BPF_F_INNER_MAP | BPF_F_MMAPABLE) as usize }>,
    { map::MAX_LISTENERS as usize },
> = ArrayOfMaps::new();

/// Slots that are tried before a listener counts as without backend: its table is renewed soon after a
/// backend stops being active, until then its slots are skipped.
const PROBES: u32 = 4;

/// No id: the listener's table is missing.
pub(super) const MISSING: u32 = u32::MAX;

/// The active backend of a hash's slot, and the `attempt`-th alternative to it: a global function, which the
/// verifier checks once, by itself. It gives an id, 0 for nobody, or [`MISSING`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn lb_pick(index: u32, slots: u32, hash: u32, attempt: u32) -> u32 {
    pick(index, slots, hash, attempt).unwrap_or(MISSING)
}

#[inline(always)]
fn pick(index: u32, slots: u32, hash: u32, attempt: u32) -> Option<u32> {
    let table = MAGLEV.get(index)?;
    for probe in 0..PROBES {
        let step = attempt.wrapping_mul(PROBES).wrapping_add(probe);
        let chosen = slot(alternative(hash, step), slots);
        let [even, odd] = *table.get(chosen / 2)?;
        let id = if chosen.is_multiple_of(2) { even } else { odd };
        if backend::active(id).is_some() {
            return Some(id);
        }
    }
    Some(0)
}

/// The hash itself, then others that follow from it alone: 2^32 divided by the golden ratio steps far.
#[inline(always)]
const fn alternative(hash: u32, step: u32) -> u32 {
    hash.wrapping_add(step.wrapping_mul(0x9e37_79b9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_reach_other_slots() {
        let slots: std::collections::BTreeSet<_> =
            (0..16).map(|step| slot(alternative(0x1234_5678, step), 251)).collect();
        assert_eq!(slots.len(), 16);
    }
}
