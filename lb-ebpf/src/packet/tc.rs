//! A packet at a tc hook: an skb, perhaps a segmentation-offload giant with unfinished checksums.
//!
//! It is read in place and written through helpers only: they unshare the buffer when there is something to
//! write (a direct write anywhere in a program makes the kernel unshare every packet), and they know what a
//! checksum field holds.

use core::marker::PhantomData;
use core::ptr::NonNull;

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM, TC_ACT_SHOT, TC_ACT_UNSPEC,
};
use aya_ebpf::helpers::{
    bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_redirect, bpf_skb_change_head, bpf_skb_change_tail,
    bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
};
use lb_common::csum::Delta;
use lb_common::net::{Address, Protocol};
use lb_common::reason::Reason;

use super::{CHUNK, Hook, MAX_OFFSET, Packet};
use crate::extension::{self, Chain};
use crate::family::Family;
use crate::headers::{Aligned, Header, Plain, Ports, Tags};
use crate::rewrite::plain::Change;
use crate::rewrite::sum::Sum;
use crate::rewrite::{Rewrite, sum};
use crate::verdict::Action;
use crate::vlan;

/// [`sum::whole`] of an skb: a global function, which the verifier checks once, by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_sum_tc(skb: *mut __sk_buff, offset: u32, length: u32) -> u32 {
    sum::whole(&TcPacket::<AtIngress>::new(skb), offset, length)
}

/// A side of an interface.
pub trait Side {
    /// Its hook.
    const HOOK: Hook;
}

/// Packets that come in.
pub struct AtIngress;

/// Packets that go out.
pub struct AtEgress;

impl Side for AtIngress {
    const HOOK: Hook = Hook::Ingress;
}

impl Side for AtEgress {
    const HOOK: Hook = Hook::Egress;
}

/// [`extension::walk`] over the packet: a global function, too.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_extensions_tc(context: *mut __sk_buff, start: u32, first: u32) -> u64 {
    extension::walk(&mut TcPacket::<AtIngress>::new(context), start as usize, first as u8).number()
}

/// See the module.
pub struct TcPacket<S> {
    skb: *mut __sk_buff,
    network: usize,
    vlans: u32,
    side: PhantomData<S>,
}

impl<S: Side> TcPacket<S> {
    /// The packet of a program's context.
    #[inline(always)]
    pub const fn new(skb: *mut __sk_buff) -> Self {
        Self { skb, network: Tags::UNTAGGED, vlans: 0, side: PhantomData }
    }

    #[inline(always)]
    fn skb(&self) -> *mut __sk_buff {
        self.skb
    }

    /// Where the reachable part begins and ends. Loaded anew each time, for the compiler else leaves out a
    /// check that follows from another, and the verifier does not follow.
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the context is the one that the kernel gave the program, valid while it runs.
        let data = unsafe { &raw const (*self.skb()).data };
        // SAFETY: as above.
        let end = unsafe { &raw const (*self.skb()).data_end };
        // SAFETY: as above.
        let data = unsafe { data.read_volatile() };
        // SAFETY: as above.
        (data as usize, unsafe { end.read_volatile() } as usize)
    }

    #[inline(always)]
    fn skb_length(&self) -> u32 {
        // SAFETY: the context is the one that the kernel gave the program, valid while it runs.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn write<T: Header>(&mut self, offset: usize, value: &T, flags: u32) -> Result<(), Reason> {
        let value = Aligned(*value);
        let bytes = (&raw const value).cast();
        // SAFETY: the pointer and the length are those of `value`; the kernel checks the packet's end.
        let status = unsafe {
            bpf_skb_store_bytes(self.skb(), offset as u32, bytes, size_of::<T>() as u32, u64::from(flags))
        };
        written(status)
    }

    #[inline(always)]
    fn mend_transport(&mut self, offset: usize, change: Delta, flags: u32) -> Result<(), Reason> {
        let diff = u64::from(change.diff());
        // SAFETY: a plain helper call; the kernel checks the packet's end.
        written(unsafe { bpf_l4_csum_replace(self.skb(), offset as u32, 0, diff, u64::from(flags)) })
    }

    #[inline(always)]
    fn rewrite_transport<A: Address>(&mut self, rewrite: &Rewrite<A>) -> Result<(), Reason> {
        let (field, zero) = match rewrite.to.protocol {
            Protocol::Tcp => (rewrite.transport + 16, 0),
            Protocol::Udp => (rewrite.transport + 6, BPF_F_MARK_MANGLED_0),
        };
        self.mend_transport(field, rewrite.address_change(), BPF_F_PSEUDO_HDR | zero)?;
        if rewrite.changes_ports() {
            self.mend_transport(field, rewrite.port_change(), zero)?;
        }
        let ports = Ports { source: rewrite.to.source_port, destination: rewrite.to.destination_port };
        // The checksum makes up for the ports.
        self.write(rewrite.transport, &ports, 0)
    }
}

#[inline(always)]
const fn written(status: i64) -> Result<(), Reason> {
    if status == 0 { Ok(()) } else { Err(Reason::WriteFailed) }
}

impl<S: Side> Packet for TcPacket<S> {
    const HOOK: Hook = S::HOOK;

    #[inline(always)]
    fn interface(&self) -> u32 {
        // Volatile, for the compiler else chooses between this place and another one, and reads there: the
        // verifier wants to see which one it is.
        // SAFETY: the context is the one that the kernel gave the program, valid while it runs.
        let interface = unsafe { &raw const (*self.skb()).ifindex };
        // SAFETY: as above.
        unsafe { interface.read_volatile() }
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.skb_length()
    }

    #[inline(always)]
    fn bytes(&self, _claimed: u32) -> u32 {
        self.skb_length()
    }

    #[inline(always)]
    fn outer_vlan(&self) -> u32 {
        // SAFETY: the context is the one that the kernel gave the program, valid while it runs. Without a tag,
        // the kernel gives 0.
        vlan::id(unsafe { (*self.skb()).vlan_tci })
    }

    #[inline(always)]
    fn piece(&self) -> u32 {
        // SAFETY: the context is the one that the kernel gave the program, valid while it runs.
        unsafe { (*self.skb()).gso_size }
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
    fn pull(&mut self, length: usize) {
        let (data, end) = self.bounds();
        if data + length > end {
            // SAFETY: a plain helper call; packet pointers are taken anew after this. Where it fails, the
            // packet is too short and the read that follows says so.
            let _ = unsafe { bpf_skb_pull_data(self.skb(), length as u32) };
        }
    }

    #[inline(always)]
    fn front(&self) -> Option<NonNull<Plain>> {
        self.header::<Plain>(0).map(NonNull::from)
    }

    #[inline(always)]
    fn header<T: Header>(&self, offset: usize) -> Option<&T> {
        let (data, end) = self.bounds();
        let start = data + (offset & MAX_OFFSET);
        if start + size_of::<T>() > end {
            return None;
        }
        // SAFETY: the type ends before the packet's reachable part does, and `Header` makes any bytes a
        // value at any address; nothing writes while `&self` is borrowed.
        Some(unsafe { &*(start as *const T) })
    }

    #[inline(always)]
    fn load(&self, offset: u32, buffer: &mut [u8; CHUNK], length: u32) -> Result<(), Reason> {
        // SAFETY: the kernel checks the packet's end, and `length` is at most that of the buffer.
        let status =
            unsafe { bpf_skb_load_bytes(self.skb().cast(), offset, buffer.as_mut_ptr().cast(), length) };
        if status == 0 { Ok(()) } else { Err(Reason::Truncated) }
    }

    #[inline(always)]
    fn sum(&self, offset: u32, length: u32) -> u32 {
        lb_sum_tc(self.skb(), offset, length)
    }

    #[inline(always)]
    fn extensions(&mut self, start: usize, first: u8) -> Option<Chain> {
        Chain::numbered(lb_extensions_tc(self.skb(), start as u32, u32::from(first)))
    }

    #[inline(always)]
    fn store<T: Header>(&mut self, offset: usize, value: &T) -> Result<(), Reason> {
        // A sum over all bytes that the device left with the packet begins at the network header.
        let counted = if offset < Tags::UNTAGGED { 0 } else { BPF_F_RECOMPUTE_CSUM };
        self.write(offset, value, counted)
    }

    #[inline(always)]
    fn resize(&mut self, length: u32) -> Result<(), Reason> {
        // SAFETY: a plain helper call; packet pointers are taken anew after this.
        written(unsafe { bpf_skb_change_tail(self.skb(), length, 0) })
    }

    #[inline(always)]
    fn grow(&mut self, length: u32) -> Result<(), Reason> {
        // SAFETY: as in `resize`.
        written(unsafe { bpf_skb_change_head(self.skb(), length, 0) })
    }

    #[inline(always)]
    fn rewrite<F: Family>(&mut self, rewrite: &Rewrite<F::Address>) -> Result<(), Reason> {
        if let Some(offset) = F::CHECKSUM {
            let diff = u64::from(F::header_change(rewrite).diff());
            let offset = (self.network + offset) as u32;
            // SAFETY: a plain helper call; the kernel checks the packet's end.
            written(unsafe { bpf_l3_csum_replace(self.skb(), offset, 0, diff, 0) })?;
        }
        if rewrite.sum != Sum::Elsewhere {
            self.rewrite_transport(rewrite)?;
        }
        // Where the header has a checksum, it makes up for the header's bytes: the sum over all bytes stays.
        // Where it has none, the kernel has counted the addresses with the transport's checksum, and takes them
        // back here.
        let counted = if F::CHECKSUM.is_some() { 0 } else { BPF_F_RECOMPUTE_CSUM };
        self.write(self.network + F::ADDRESSES, &F::addresses(rewrite), counted)?;
        if rewrite.hops.change() {
            self.write(self.network + F::HOPS, &rewrite.hops.after, counted)?;
        }
        Ok(())
    }

    #[inline(always)]
    unsafe fn change(&mut self, front: NonNull<Plain>, change: &Change) -> Result<(), Reason> {
        // SAFETY: the caller promises that it is within reach. All is read before what follows moves it.
        let plain = unsafe { front.as_ref() };
        let (addresses, ports, head) =
            (change.of_addresses(plain), change.of_ports(plain), change.head(plain));
        let (field, zero) = if plain.protocol == Protocol::Tcp.number() {
            (core::mem::offset_of!(Plain, tcp_check), 0)
        } else {
            (core::mem::offset_of!(Plain, udp_check), BPF_F_MARK_MANGLED_0)
        };
        let changes_ports = plain.ports() != change.ports;
        self.mend_transport(field, addresses, BPF_F_PSEUDO_HDR | zero)?;
        if changes_ports {
            self.mend_transport(field, ports, zero)?;
        }
        // The header's checksum makes up for the addresses, the segment's for the ports.
        // SAFETY: the pointer and the length are those of `head`; the kernel checks the packet's end.
        let status = unsafe {
            bpf_skb_store_bytes(self.skb(), 0, (&raw const head).cast(), size_of_val(&head) as u32, 0)
        };
        written(status)
    }

    #[inline(always)]
    fn verdict(&self, action: Action) -> i32 {
        match action {
            // With tcx and clsact alike: the next program decides.
            Action::Pass => TC_ACT_UNSPEC,
            Action::Drop => TC_ACT_SHOT,
            // SAFETY: a plain helper call: it notes the interface for the stack.
            Action::Back => unsafe { bpf_redirect(self.interface(), 0) as i32 },
            // SAFETY: as above.
            Action::Redirect(interface) => unsafe { bpf_redirect(interface, 0) as i32 },
        }
    }
}
