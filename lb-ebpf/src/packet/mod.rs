//! A packet: the only door to its bytes.

mod tc;
mod xdp;

use core::ptr::NonNull;

use lb_common::reason::Reason;

use crate::extension::Chain;
use crate::family::Family;
use crate::headers::{Header, Plain};
use crate::rewrite::Rewrite;
use crate::rewrite::plain::Change;
use crate::verdict::Action;

pub use tc::{AtEgress, AtIngress, TcPacket};
pub use xdp::XdpPacket;

/// Where a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// XDP.
    Xdp,
    /// tc, incoming.
    Ingress,
    /// tc, outgoing.
    Egress,
}

/// Bytes that [`Packet::load`] fetches at most.
pub const CHUNK: usize = 128;

/// Header offsets are below this, which the verifier wants to see where they are used.
pub const MAX_OFFSET: usize = 0xff;

/// A packet at a hook.
pub trait Packet {
    /// Which hook.
    const HOOK: Hook;

    /// The interface that it comes in by or, at egress, goes out of.
    fn interface(&self) -> u32;

    /// Bytes from the Ethernet header on, all fragments of the buffer included.
    fn length(&self) -> u32;

    /// Bytes for the counters: `claimed`, those up to the end of the IP packet, where it costs a call to ask
    /// the kernel.
    fn bytes(&self, claimed: u32) -> u32;

    /// The id of a VLAN tag that is not among the bytes; 0 for none.
    fn outer_vlan(&self) -> u32;

    /// Payload bytes of each packet that a device will cut it into; 0 where it is one.
    fn piece(&self) -> u32;

    /// Where its network header is, from the start of the frame: behind the Ethernet header and the VLAN tags
    /// that were found.
    fn network(&self) -> usize;

    /// Says where its network header is, and the VLANs of the tags before it.
    fn enter(&mut self, network: usize, vlans: u32);

    /// The VLANs of the tags that were found among the bytes, as [`vlan::of`](crate::vlan::of) gives them.
    fn inner_vlans(&self) -> u32;

    /// Makes the first `length` bytes reachable by [`Packet::header`] if the packet has that many and the
    /// hook can.
    fn pull(&mut self, length: usize);

    /// Where the packet begins, if it has as many bytes as [`Plain`] within reach. It stays there until the packet is
    /// pulled, resized or stored to.
    fn front(&self) -> Option<NonNull<Plain>>;

    /// A header for reading; `None` where the bytes end before it does.
    fn header<T: Header>(&self, offset: usize) -> Option<&T>;

    /// Copies `length` bytes (1 to [`CHUNK`]) into the buffer.
    ///
    /// # Errors
    ///
    /// `Truncated` where the packet ends before.
    fn load(&self, offset: u32, buffer: &mut [u8; CHUNK], length: u32) -> Result<(), Reason>;

    /// The folded sum of `length` bytes, more than 16 bits where the packet ends before.
    fn sum(&self, offset: u32, length: u32) -> u32;

    /// What the extension headers from `start` on lead to, the first of which has this number; `None` where that
    /// is not found.
    fn extensions(&mut self, start: usize, first: u8) -> Option<Chain>;

    /// Overwrites bytes without a care for checksums.
    ///
    /// # Errors
    ///
    /// `WriteFailed` where the packet ends before, or the kernel refuses.
    fn store<T: Header>(&mut self, offset: usize, value: &T) -> Result<(), Reason>;

    /// Cuts or lengthens the packet at its tail.
    ///
    /// # Errors
    ///
    /// `WriteFailed` where there is no room.
    fn resize(&mut self, length: u32) -> Result<(), Reason>;

    /// Puts `length` bytes of anything before its beginning.
    ///
    /// # Errors
    ///
    /// `WriteFailed` where there is no room.
    fn grow(&mut self, length: u32) -> Result<(), Reason>;

    /// Rewrites addresses, ports, TTL and checksums; ports and their checksum only where they are.
    ///
    /// # Errors
    ///
    /// `WriteFailed`: the packet may be half rewritten then, and must not go on.
    fn rewrite<F: Family>(&mut self, rewrite: &Rewrite<F::Address>) -> Result<(), Reason>;

    /// Rewrites a packet that begins with [`Plain`], whose checksum is finished or the device's that sends it on.
    ///
    /// # Errors
    ///
    /// As [`Packet::rewrite`].
    ///
    /// # Safety
    ///
    /// `front` is what [`Packet::front`] gave, and the packet still is there.
    unsafe fn change(&mut self, front: NonNull<Plain>, change: &Change) -> Result<(), Reason>;

    /// The program's return value for an action.
    fn verdict(&self, action: Action) -> i32;
}
