//! From the function that decides about an IPv6 packet to the one that carries it out.

use core::mem::MaybeUninit;

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use lb_common::net::Ipv6;
use lb_common::reason::Reason;

use crate::transmit::Order;

/// Each CPU's own, of one packet.
#[btf_map]
static ORDER: PerCpuArray<MaybeUninit<Order<Ipv6>>, 1> = PerCpuArray::new();

/// Notes what is to be done.
///
/// # Errors
///
/// `Inconsistent`.
#[inline(always)]
pub fn note(order: &Order<Ipv6>) -> Result<(), Reason> {
    let place = ORDER.get_ptr_mut(0).ok_or(Reason::Inconsistent)?;
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    unsafe { place.write(MaybeUninit::new(*order)) };
    Ok(())
}

/// What was noted, by the function before this one.
///
/// # Errors
///
/// `Inconsistent`.
#[inline(always)]
pub fn noted() -> Result<&'static Order<Ipv6>, Reason> {
    let order = ORDER.get(0).ok_or(Reason::Inconsistent)?;
    // SAFETY: the function before this one has noted it, on the same CPU and for the same packet.
    Ok(unsafe { order.assume_init_ref() })
}
