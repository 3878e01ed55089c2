//! The end of the road: counts datagrams, and drops or answers them.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use lb_common::bench::SINK_PORT;
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use crate::frame::{ETHERNET, UDP, at, is_ipv4};

#[btf_map]
static SUNK: PerCpuArray<u64, 1> = PerCpuArray::new();

#[btf_map]
static ANSWERS: Array<u32, 1> = Array::new();

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
    match ANSWERS.get(0) {
        Some(&1) => answer(context).unwrap_or(xdp_action::XDP_DROP),
        _ => xdp_action::XDP_DROP,
    }
}

/// Sends it back as it came, with its ends swapped, which changes no checksum. By redirect, as the other end of the cable
/// takes what is transmitted only if it has a program of its own.
#[inline(always)]
fn answer(context: &XdpContext) -> Option<u32> {
    swap::<[u8; 6]>(at(context, 0)?);
    swap::<[u8; 4]>(at(context, ETHERNET + 12)?);
    swap::<[u8; 2]>(at(context, ETHERNET + size_of::<Ipv4Hdr>())?);
    // SAFETY: the kernel's own context.
    let interface = unsafe { (*context.ctx).ingress_ifindex };
    // SAFETY: the helper takes numbers.
    unsafe { bpf_redirect(interface, 0) };
    Some(xdp_action::XDP_REDIRECT)
}

#[inline(always)]
fn swap<T: Copy>(ends: *mut [T; 2]) {
    // SAFETY: its caller has it from `at`: inside the frame. The types are bytes, of any alignment.
    unsafe {
        let [from, to] = *ends;
        *ends = [to, from];
    }
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
