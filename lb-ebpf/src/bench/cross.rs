//! The ceiling: packets cross the node by redirect, and nothing is looked at but where they came in.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use lb_common::bench::Crossing;

use crate::frame::{at, is_ipv4};

#[btf_map]
static CROSSINGS: HashMap<u32, Crossing, 8> = HashMap::new();

/// `None`: not for the other side.
#[inline(always)]
pub(crate) fn over(context: &XdpContext) -> Option<u32> {
    if !is_ipv4(context) {
        return None;
    }
    // SAFETY: the kernel's own context.
    let from = unsafe { (*context.ctx).ingress_ifindex };
    // SAFETY: entries of this map are never removed.
    let crossing = unsafe { CROSSINGS.get(from) }?;
    let addresses: *mut [[u8; 6]; 2] = at(context, 0)?;
    // SAFETY: inside the frame, as `at` has checked.
    unsafe { *addresses = [crossing.destination, crossing.source] };
    // SAFETY: the helper takes numbers.
    unsafe { bpf_redirect(crossing.interface, 0) };
    Some(xdp_action::XDP_REDIRECT)
}
