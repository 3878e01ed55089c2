//! The load of backends: how many live flows each has.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::map;

use crate::backend;

/// By id; mapped into memory by the agent. Counted up with each new flow, without a lock: a count that is lost between two CPUs is found again
/// when the agent, about once a second, writes what the flow table says.
#[btf_map]
static BACKEND_LOAD: Array<u64, { map::MAX_BACKENDS as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// One more flow.
#[inline(always)]
pub(super) fn add(id: u32) {
    if let Some(load) = BACKEND_LOAD.get_ptr_mut(id) {
        // SAFETY: a word of a map; volatile, as others write it.
        let flows = unsafe { load.read_volatile() };
        // SAFETY: as above.
        unsafe { load.write_volatile(flows.wrapping_add(1)) };
    }
}

/// The one of two backends, by id, that has fewer flows for its weight.
#[inline(always)]
pub(super) fn lighter(one: u32, other: u32) -> u32 {
    let (Some((_, first)), Some((_, second))) = (backend::active(one), backend::active(other)) else {
        return one;
    };
    if is_lighter((flows(other), second.weight), (flows(one), first.weight)) { other } else { one }
}

#[inline(always)]
fn flows(id: u32) -> u64 {
    // SAFETY: a word of a map; volatile, as others write it.
    BACKEND_LOAD.get_ptr(id).map_or(0, |load| unsafe { load.read_volatile() })
}

/// Whether the first has fewer flows for its weight.
#[inline(always)]
const fn is_lighter(one: (u64, u16), other: (u64, u16)) -> bool {
    one.0.wrapping_mul(other.1 as u64) < other.0.wrapping_mul(one.1 as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_compared_by_weight() {
        assert!(is_lighter((1, 1), (2, 1)));
        assert!(!is_lighter((2, 1), (2, 1)));
        assert!(is_lighter((5, 3), (2, 1)));
        assert!(!is_lighter((6, 3), (2, 1)));
    }
}
