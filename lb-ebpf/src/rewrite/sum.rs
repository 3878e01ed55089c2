//! How a segment's checksum stands when XDP sees it, and so how it must be rewritten.
//!
//! A sender behind a veth, tap or virtio-net may leave the checksum to its device: the field then holds the
//! folded pseudo-header sum. One valid full checksum in 65,536 has that value as well, and one unfinished
//! segment in 65,536 happens to add up. So the flow remembers which kind its sender is, and only a segment
//! that contradicts it is summed up whole. A flow's first segment has nothing but the last first segment on its
//! interface to go by.

use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::bpf_csum_diff;
use aya_ebpf::macros::btf_map;
use lb_common::csum::{fold, pseudo_header};
use lb_common::map;
use lb_common::net::{Address, Protocol};
use lb_common::port::{GENERIC, PARTIAL_CHECKSUMS, PortValue};
use lb_common::reason::Reason;

use crate::mask::masked;
use crate::packet::{CHUNK, Hook, Packet};
use crate::parse::{Fragment, Segment};

/// How a checksum is to be rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    /// By the change of addresses and ports.
    Full,
    /// By the change of the addresses, uncomplemented: a device completes it.
    Partial,
    /// From the folded sum of all bytes of the segment as it came: nobody else will complete it.
    Whole(u16),
    /// Not at all: it stands in another fragment.
    Elsewhere,
}

/// May XDP see checksums there that are left to a device?
#[inline(always)]
pub fn may_be_partial<P: Packet>(port: &PortValue) -> bool {
    P::HOOK == Hook::Xdp && port.flags & PARTIAL_CHECKSUMS != 0
}

/// Does the field hold the sum of the pseudo-header, at a place where XDP may see such?
#[inline(always)]
pub fn looks_partial<P: Packet, A: Address>(segment: &Segment<A>, port: &PortValue) -> bool {
    // Who cuts a packet into fragments completes its checksum first.
    may_be_partial::<P>(port) && segment.fragment == Fragment::None && is_pseudo(segment)
}

/// Does the field hold the sum of the pseudo-header?
#[inline(always)]
pub fn is_pseudo<A: Address>(segment: &Segment<A>) -> bool {
    let key = &segment.key;
    let absent = key.protocol == Protocol::Udp && segment.field == 0;
    !absent
        && segment.field == pseudo_header(key.source, key.destination, key.protocol.number(), segment.length)
}

/// Is the checksum of a known flow's segment partial? `habit` is what the flow remembers of its sender.
#[inline(always)]
pub fn is_partial<P: Packet, A: Address>(
    packet: &P,
    segment: &Segment<A>,
    port: &PortValue,
    habit: bool,
) -> bool {
    looks_partial::<P, A>(segment, port) && (habit || !adds_up(packet, segment))
}

/// By interface: not zero where the last flow's first segment had a full checksum. Written by packets.
#[btf_map]
static FULL_CHECKSUMS: Array<u32, { map::MAX_PORTS as usize }> = Array::new();

/// Is the checksum of a flow's first segment partial? Where it may be either, senders on this interface are thought to
/// be alike.
#[inline(always)]
pub fn begins_partial<P: Packet, A: Address>(packet: &P, segment: &Segment<A>, port: &PortValue) -> bool {
    if !may_be_partial::<P>(port) {
        return false;
    }
    let Some(full) = FULL_CHECKSUMS.get_ptr_mut(packet.interface()) else {
        return looks_partial::<P, A>(segment, port);
    };
    // SAFETY: a word of an array map; volatile, for other CPUs write it.
    let before = unsafe { full.read_volatile() };
    let partial = is_partial(packet, segment, port, before == 0);
    note(full, before, !partial);
    partial
}

/// [`begins_partial`] of a segment that does not look so: it is not.
#[inline(always)]
pub fn begins_full<P: Packet>(packet: &P, port: &PortValue) {
    if may_be_partial::<P>(port)
        && let Some(full) = FULL_CHECKSUMS.get_ptr_mut(packet.interface())
    {
        // SAFETY: as above.
        note(full, unsafe { full.read_volatile() }, true);
    }
}

#[inline(always)]
fn note(place: *mut u32, before: u32, full: bool) {
    if u32::from(full) != before {
        // SAFETY: the callers give a word of an array map; volatile, for other CPUs write it.
        unsafe { place.write_volatile(u32::from(full)) };
    }
}

/// Is the checksum a valid full one?
#[inline(always)]
pub fn adds_up<P: Packet, A: Address>(packet: &P, segment: &Segment<A>) -> bool {
    let key = &segment.key;
    let pseudo = pseudo_header(key.source, key.destination, key.protocol.number(), segment.length);
    let bytes = packet.sum(segment.transport as u32, u32::from(segment.length));
    bytes != UNREADABLE && fold(u64::from(bytes) + u64::from(pseudo)) == 0xffff
}

/// How to rewrite the checksum; `leaves` says that the frame is transmitted from here.
///
/// # Errors
///
/// `Malformed` where the segment is not as long as its header says.
#[inline(always)]
pub fn plan<P: Packet, A: Address>(
    packet: &P,
    segment: &Segment<A>,
    port: &PortValue,
    partial: bool,
    leaves: bool,
) -> Result<Sum, Reason> {
    if segment.fragment == Fragment::Later {
        return Ok(Sum::Elsewhere);
    }
    if P::HOOK != Hook::Xdp || !partial {
        return Ok(Sum::Full);
    }
    if !leaves || port.flags & GENERIC != 0 {
        return Ok(Sum::Partial);
    }
    match packet.sum(segment.transport as u32, u32::from(segment.length)) {
        UNREADABLE => Err(Reason::Malformed),
        bytes => Ok(Sum::Whole(fold(u64::from(bytes)))),
    }
}

/// Chunks that are summed before the tail: enough for the largest frames that devices take, 9 KiB.
const CHUNKS: u32 = 72;

/// Each CPU's own scratch of one packet: the stack is short.
#[btf_map]
static BUFFER: PerCpuArray<[u8; CHUNK], 1> = PerCpuArray::new();

/// More than a folded sum can be.
const UNREADABLE: u32 = u32::MAX;

/// The folded sum of some bytes, `UNREADABLE` where there are not as many. Behind a global function of the
/// packet's kind ([`Packet::sum`]), so that the verifier follows its loop once.
#[inline(always)]
pub fn whole<P: Packet>(packet: &P, offset: u32, length: u32) -> u32 {
    const STEP: u32 = CHUNK as u32;
    let Some(buffer) = BUFFER.get_ptr_mut(0) else { return UNREADABLE };
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    let buffer = unsafe { &mut *buffer };
    let mut sum = 0;
    // The tail first: what comes after a loop is followed once for each number of its rounds.
    let rest = length % STEP;
    let chunks = length - rest;
    if rest != 0 {
        // The same number, in a form whose limits the verifier sees: before Linux 6.8 it learns nothing from `!=`.
        let rest = masked::<{ STEP - 1 }>(rest - 1) + 1;
        *buffer = [0; CHUNK];
        if packet.load(offset.wrapping_add(chunks), buffer, rest).is_err() {
            return UNREADABLE;
        }
        sum = add(buffer, sum);
    }
    for chunk in 0..CHUNKS {
        let done = chunk * STEP;
        if done == chunks {
            return u32::from(fold(u64::from(sum)));
        }
        if packet.load(offset.wrapping_add(done), buffer, STEP).is_err() {
            return UNREADABLE;
        }
        sum = add(buffer, sum);
    }
    UNREADABLE
}

#[inline(always)]
fn add(buffer: &mut [u8; CHUNK], sum: u32) -> u32 {
    let words = buffer.as_mut_ptr().cast();
    // SAFETY: reads the buffer, the length of which is given.
    unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, words, CHUNK as u32, sum).cast_unsigned() as u32 }
}
