//! Packets as they came and as they were left, with verdict and reason.

use core::hint::black_box;

use aya_ebpf::btf_maps::{PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use lb_common::observe::{CaptureFilter, Captured, NO_REASON, SNAP};
use lb_common::reason::Reason;

use crate::config::{exact_nanoseconds, nanoseconds};
use crate::limit::Tokens;
use crate::mask::masked;
use crate::packet::{CHUNK, Packet};

/// Bytes of captured packets, read by the agent; when it is full, packets are lost and counted. The size is set
/// by who loads the programs: nobody needs room for what is never written.
#[btf_map]
static CAPTURE: RingBuf<Captured, 4096> = RingBuf::new();

/// Each CPU's own: the packet that is on its way through the stages.
#[btf_map]
static CAPTURE_PACKET: PerCpuArray<Captured, 1> = PerCpuArray::new();

/// Each CPU's own: how many more may be captured.
#[btf_map]
static CAPTURE_TOKENS: PerCpuArray<Tokens, 1> = PerCpuArray::new();

/// Packets that were wanted and not captured: too many in too short a time, or a reader that is too slow.
#[btf_map]
static CAPTURE_LOST: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Set by who loads the programs.
#[unsafe(no_mangle)]
static CAPTURE_FILTER: CaptureFilter = CaptureFilter { flags: 0, port: 0, vip: [0; 16], client: [0; 16] };

/// A packet begins its journey; where it begins anew, nothing has been changed yet.
#[inline(always)]
pub fn arrived<P: Packet>(packet: &P) {
    if !super::captures() {
        return;
    }
    let Some(captured) = captured() else { return };
    captured.interface = packet.interface();
    captured.hook = P::HOOK as u32;
    captured.reason = NO_REASON;
    captured.before_length = packet.length();
    snap(packet, captured.before_length, &mut captured.before);
}

/// A reason was counted for the packet.
#[inline(always)]
pub fn reason(reason: Reason) {
    if super::captures()
        && let Some(captured) = captured()
    {
        captured.reason = reason as u32;
    }
}

/// A packet ends its journey with a return value.
#[inline(always)]
pub fn concluded<P: Packet>(packet: &P, code: i32) {
    if !super::captures() {
        return;
    }
    let Some(captured) = captured() else { return };
    captured.code = code;
    captured.after_length = packet.length();
    snap(packet, captured.after_length, &mut captured.after);
    lb_capture();
}

#[inline(always)]
fn captured() -> Option<&'static mut Captured> {
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    CAPTURE_PACKET.get_ptr_mut(0).map(|captured| unsafe { &mut *captured })
}

#[inline(always)]
fn snap<P: Packet>(packet: &P, length: u32, bytes: &mut [u8; SNAP]) {
    let (first, second) = bytes.split_at_mut(CHUNK);
    part(packet, 0, length, first);
    part(packet, CHUNK as u32, length, second);
}

/// Copies what the packet has of a part. The rest stays what it was: its length tells it apart.
#[inline(always)]
fn part<P: Packet>(packet: &P, offset: u32, length: u32, bytes: &mut [u8]) {
    const WHOLE: u32 = CHUNK as u32;
    let Ok(bytes) = <&mut [u8; CHUNK]>::try_from(bytes) else { return };
    // What can't be read is not shown.
    if length >= offset + WHOLE {
        let _unread = packet.load(offset, bytes, WHOLE);
    } else if length > offset {
        // The number of bytes left, in a form whose limits the verifier sees.
        let left = masked::<{ WHOLE - 1 }>(length - offset - 1) + 1;
        let _unread = packet.load(offset, bytes, left);
    }
}

/// Hands the packet to the agent, if it is wanted: a global function, which the verifier checks once. Gives 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_capture() -> u32 {
    let Some(captured) = captured() else { return 0 };
    if !is_wanted(captured) {
        return 0;
    }
    captured.time = exact_nanoseconds();
    // By reference: it has no room on the stack.
    let captured: &Captured = captured;
    if !may() || CAPTURE.output(captured, 0).is_err() {
        lost();
    }
    0
}

#[inline(always)]
fn is_wanted(captured: &Captured) -> bool {
    // Its value is set when it is loaded, which the compiler must not know; to copy it takes more stack than there is.
    let filter = black_box(&CAPTURE_FILTER);
    if filter.flags == 0 {
        return captured.reason != Reason::NotOurs as u32;
    }
    filter.takes(&captured.before) || filter.takes(&captured.after)
}

#[inline(always)]
fn may() -> bool {
    let Some(tokens) = CAPTURE_TOKENS.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own value, as in `captured`.
    unsafe { (*tokens).take(nanoseconds() >> crate::limit::UNIT_SHIFT) }
}

#[inline(always)]
fn lost() {
    if let Some(lost) = CAPTURE_LOST.get_ptr_mut(0) {
        // SAFETY: this CPU's own value, as in `captured`.
        unsafe { *lost += 1 };
    }
}
