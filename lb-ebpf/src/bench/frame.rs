//! What a frame has where.

use aya_ebpf::programs::XdpContext;

/// The length of an Ethernet header without tags.
pub(crate) const ETHERNET: usize = 14;
/// The Ethernet type of IPv4.
pub(crate) const IPV4: [u8; 2] = [0x08, 0x00];
/// The protocol number.
pub(crate) const UDP: u8 = 17;

/// `None`: the frame ends before.
#[inline(always)]
pub(crate) fn at<T>(context: &XdpContext, offset: usize) -> Option<*mut T> {
    let place = context.data() + offset;
    (place + size_of::<T>() <= context.data_end()).then_some(place as *mut T)
}

/// Whether it carries IPv4, without tags.
#[inline(always)]
pub(crate) fn is_ipv4(context: &XdpContext) -> bool {
    // SAFETY: inside the frame, as `at` has checked.
    at::<[u8; 2]>(context, 12).is_some_and(|kind| unsafe { *kind } == IPV4)
}
