//! The end of the road: counts datagrams and drops them.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use lb_common::bench::SINK_PORT;
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use crate::frame::{ETHERNET, UDP, at, is_ipv4};

#[btf_map]
static SUNK: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Everything else is passed.
#[inline(always)]
pub(crate) fn take(context: &XdpContext) -> u32 {
    if !is_datagram(context).unwrap_or(false) {
        return xdp_action::XDP_PASS;
    }
    if let Some(count) = SUNK.get_ptr_mut(0) {
        // SAFETY: this CPU's own value.
        unsafe { *count += 1 };
    }
    xdp_action::XDP_DROP
}

/// `None`: the frame is too short for one.
#[inline(always)]
fn is_datagram(context: &XdpContext) -> Option<bool> {
    let ip: *const Ipv4Hdr = at(context, ETHERNET)?;
    let udp: *const UdpHdr = at(context, ETHERNET + size_of::<Ipv4Hdr>())?;
    // SAFETY: inside the frame, as `at` has checked.
    let (vihl, protocol) = unsafe { ((*ip).vihl, (*ip).proto) };
    // SAFETY: as above.
    let port = u16::from_be_bytes(unsafe { (*udp).dst });
    Some(is_ipv4(context) && vihl == 0x45 && protocol == UDP && port == SINK_PORT)
}
