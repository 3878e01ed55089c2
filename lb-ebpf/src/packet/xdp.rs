//! A packet at the XDP hook: its bytes are written in place.

use core::ptr::NonNull;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{
    bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
};
use lb_common::net::Protocol;
use lb_common::reason::Reason;
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use super::{CHUNK, Hook, MAX_OFFSET, Packet};
use crate::extension::{self, Chain};
use crate::family::Family;
use crate::headers::{Header, Plain, Tags};
use crate::rewrite::plain::Change;
use crate::rewrite::sum::Sum;
use crate::rewrite::{Rewrite, sum};
use crate::verdict::Action;

/// [`sum::whole`] of a frame: a global function, which the verifier checks once, by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_sum_xdp(context: *mut xdp_md, offset: u32, length: u32) -> u32 {
    sum::whole(&XdpPacket::new(context), offset, length)
}

/// [`extension::walk`] over the packet: a global function, too.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_extensions_xdp(context: *mut xdp_md, start: u32, first: u32) -> u64 {
    extension::walk(&mut XdpPacket::new(context), start as usize, first as u8).number()
}

/// See the module.
pub struct XdpPacket {
    context: *mut xdp_md,
    network: usize,
    vlans: u32,
}

impl XdpPacket {
    /// The packet of a program's context.
    #[inline(always)]
    pub const fn new(context: *mut xdp_md) -> Self {
        Self { context, network: Tags::UNTAGGED, vlans: 0 }
    }

    /// Where a header is, if it is inside. The bounds are loaded anew each time, for the compiler else leaves
    /// out a check that follows from another, and the verifier does not follow.
    #[inline(always)]
    fn pointer<T: Header>(&self, offset: usize) -> Option<*mut T> {
        // SAFETY: the context is the one that the kernel gave the program, valid while it runs.
        let data = unsafe { &raw const (*self.context).data };
        // SAFETY: as above.
        let end = unsafe { &raw const (*self.context).data_end };
        // SAFETY: as above.
        let start = unsafe { data.read_volatile() } as usize + (offset & MAX_OFFSET);
        // SAFETY: as above.
        let end = unsafe { end.read_volatile() } as usize;
        if start + size_of::<T>() <= end { Some(start as *mut T) } else { None }
    }

    #[inline(always)]
    fn header_mut<T: Header>(&mut self, offset: usize) -> Result<&mut T, Reason> {
        let pointer = self.pointer(offset).ok_or(Reason::WriteFailed)?;
        // SAFETY: `pointer` keeps the type inside the packet, `Header` makes any bytes a value at any
        // address, and `&mut self` is the only access to the packet, which this CPU alone owns.
        Ok(unsafe { &mut *pointer })
    }
}

impl Packet for XdpPacket {
    const HOOK: Hook = Hook::Xdp;

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the one that the kernel gave the program, valid while it runs.
        unsafe { (*self.context).ingress_ifindex }
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context is the one that the kernel gave the program.
        unsafe { bpf_xdp_get_buff_len(self.context) as u32 }
    }

    #[inline(always)]
    fn bytes(&self, claimed: u32) -> u32 {
        claimed
    }

    #[inline(always)]
    fn outer_vlan(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn piece(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn network(&self) -> usize {
        self.network
    }

    #[inline(always)]
    fn enter(&mut self, network: usize, vlans: u32) {
        self.network = network;
        self.vlans = vlans;
    }

    #[inline(always)]
    fn inner_vlans(&self) -> u32 {
        self.vlans
    }

    #[inline(always)]
    fn pull(&mut self, _length: usize) {}

    #[inline(always)]
    fn front(&self) -> Option<NonNull<Plain>> {
        NonNull::new(self.pointer(0)?)
    }

    #[inline(always)]
    fn header<T: Header>(&self, offset: usize) -> Option<&T> {
        let pointer = self.pointer::<T>(offset)?;
        // SAFETY: `pointer` keeps the type inside the packet, and `Header` makes any bytes a value at any
        // address; nothing writes while `&self` is borrowed.
        Some(unsafe { &*pointer })
    }

    #[inline(always)]
    fn load(&self, offset: u32, buffer: &mut [u8; CHUNK], length: u32) -> Result<(), Reason> {
        // SAFETY: the kernel checks the packet's end, and `length` is at most that of the buffer.
        let status = unsafe { bpf_xdp_load_bytes(self.context, offset, buffer.as_mut_ptr().cast(), length) };
        if status == 0 { Ok(()) } else { Err(Reason::Truncated) }
    }

    #[inline(always)]
    fn sum(&self, offset: u32, length: u32) -> u32 {
        lb_sum_xdp(self.context, offset, length)
    }

    #[inline(always)]
    fn extensions(&mut self, start: usize, first: u8) -> Option<Chain> {
        Chain::numbered(lb_extensions_xdp(self.context, start as u32, u32::from(first)))
    }

    #[inline(always)]
    fn store<T: Header>(&mut self, offset: usize, value: &T) -> Result<(), Reason> {
        *self.header_mut(offset)? = *value;
        Ok(())
    }

    #[inline(always)]
    fn resize(&mut self, length: u32) -> Result<(), Reason> {
        let delta = length.wrapping_sub(self.length()).cast_signed();
        // SAFETY: the context is the one that the kernel gave the program; packet pointers are taken anew
        // after this.
        let status = unsafe { bpf_xdp_adjust_tail(self.context, delta) };
        if status == 0 { Ok(()) } else { Err(Reason::WriteFailed) }
    }

    #[inline(always)]
    fn grow(&mut self, length: u32) -> Result<(), Reason> {
        // SAFETY: as in `resize`.
        let status = unsafe { bpf_xdp_adjust_head(self.context, -length.cast_signed()) };
        if status == 0 { Ok(()) } else { Err(Reason::WriteFailed) }
    }

    #[inline(always)]
    fn rewrite<F: Family>(&mut self, rewrite: &Rewrite<F::Address>) -> Result<(), Reason> {
        F::write(self.header_mut::<F::Fixed>(self.network)?, rewrite);
        if rewrite.sum == Sum::Elsewhere {
            return Ok(());
        }
        let (source, destination) = (rewrite.to.source_port.0, rewrite.to.destination_port.0);
        match rewrite.to.protocol {
            Protocol::Tcp => {
                let tcp = self.header_mut::<TcpHdr>(rewrite.transport)?;
                tcp.source = source;
                tcp.dest = destination;
                tcp.check = rewrite.field(u16::from_ne_bytes(tcp.check)).to_ne_bytes();
            }
            Protocol::Udp => {
                let udp = self.header_mut::<UdpHdr>(rewrite.transport)?;
                udp.src = source;
                udp.dst = destination;
                udp.check = rewrite.field(u16::from_ne_bytes(udp.check)).to_ne_bytes();
            }
        }
        Ok(())
    }

    #[inline(always)]
    unsafe fn change(&mut self, mut front: NonNull<Plain>, change: &Change) -> Result<(), Reason> {
        // SAFETY: the caller promises that it is inside the packet; `&mut self` is the only access to it.
        change.apply(unsafe { front.as_mut() });
        Ok(())
    }

    #[inline(always)]
    fn verdict(&self, action: Action) -> i32 {
        let code = match action {
            Action::Pass => xdp_action::XDP_PASS,
            Action::Drop => xdp_action::XDP_DROP,
            Action::Back => xdp_action::XDP_TX,
            // SAFETY: a plain helper call: it notes the interface for the driver.
            Action::Redirect(interface) => unsafe { bpf_redirect(interface, 0).cast_unsigned() as u32 },
        };
        code.cast_signed()
    }
}
