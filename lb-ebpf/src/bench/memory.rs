//! What no table of flows can do without: a look at where a tuple belongs, in memory as large as the flow table. A packet that
//! begins a flow looks at two places, which are waited for together.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use lb_common::bench::{Looks, Place};
use lb_common::hash::{Secrets, words_v4};

use crate::frame::at;

/// As many places as the flow table has buckets: who loads it says so.
#[btf_map]
static MEMORY: Array<Place, 1> = Array::new();

#[btf_map]
static LOOKS: Array<Looks, 1> = Array::new();

/// Both addresses of IPv4, then both ports.
const ADDRESSES: usize = 26;
const PORTS: usize = 34;

/// In the protocol's place: which of the two it is.
const FIRST: u8 = 6;
const SECOND: u8 = 17;

/// Any that look random: the packets are no attack. IPv4 takes four.
const SECRETS: Secrets = [
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
    0x2545_f491_4f6c_dd1d,
    0,
    0,
    0,
    0,
    0,
    0,
];

/// `None`: the frame is too short. Where a packet looks that waits depends on what the last one has found, so that the processor
/// can't look for both at once. It is zero always, which nobody knows before it is there.
#[inline(always)]
pub(crate) fn look<const WAITS: bool>(context: &XdpContext) -> Option<u32> {
    // SAFETY: inside the frame, as `at` has checked.
    let [source, destination] = unsafe { at::<[u32; 2]>(context, ADDRESSES)?.read_unaligned() };
    // SAFETY: as above.
    let ports = unsafe { at::<u32>(context, PORTS)?.read_unaligned() };
    let tuple = (source, destination, ports);
    let looks = LOOKS.get(0)?;
    // SAFETY: the field is in the map's value.
    let sum = unsafe { &raw mut (*LOOKS.get_ptr_mut(0)?).sum };
    // SAFETY: as above; volatile, so that it is read. The lower half, as the machine is little-endian.
    let before = if WAITS { unsafe { sum.cast::<u32>().read_volatile() } } else { 0 };
    let place = |protocol| words_v4(&SECRETS, tuple, protocol).wrapping_add(before) & looks.mask;
    let mut seen = word(place(FIRST))?;
    if looks.number > 1 {
        seen |= word(place(SECOND))?;
    }
    // Without anything that orders them, a processor would have a dozen packets' looks under way. A locked addition, of some
    // twenty cycles, leaves it few.
    // SAFETY: as above.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(sum, seen) };
    Some(xdp_action::XDP_TX)
}

#[inline(always)]
fn word(place: u32) -> Option<u64> {
    let first = MEMORY.get_ptr(place)?.cast::<u64>();
    // SAFETY: the value of a map; volatile, so that it is read.
    Some(unsafe { first.read_volatile() })
}
