//! The decisions about a packet, one after the other.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use lb_common::flow::FlowEntry;
use lb_common::net::Address;
use lb_common::observe::{Code, MASQUERADED, NOTES, Note, REPLY, TraceValue};

/// One entry; emptied and read by who runs a test packet. Other CPUs' are of no interest.
#[btf_map]
static TRACE: PerCpuArray<TraceValue, 1> = PerCpuArray::new();

/// Notes a decision.
#[inline(always)]
pub fn note(code: Code, first: u32, second: u32) {
    if super::traces() {
        lb_note(code as u32, first, second);
    }
}

/// Notes the flow that takes the packet.
#[inline(always)]
pub fn flow<A: Address>(entry: &FlowEntry<A>) {
    if super::traces() {
        let reply = if entry.head.is_reply() { REPLY } else { 0 };
        let masqueraded = if entry.head.is_masqueraded() { MASQUERADED } else { 0 };
        lb_note(Code::Flow as u32, entry.backend.0, reply | masqueraded);
    }
}

/// Notes how the packet leaves. One test for both decisions: every packet comes by.
#[inline(always)]
pub fn exit(partial: bool, way: u32, interface: u32) {
    if super::traces() {
        lb_note(Code::Checksum as u32, u32::from(partial), 0);
        lb_note(Code::Exit as u32, way, interface);
    }
}

/// A global function, which the verifier checks once, by itself. Gives 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_note(code: u32, first: u32, second: u32) -> u32 {
    let Some(trace) = TRACE.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    let trace = unsafe { &mut *trace };
    let index = trace.count as usize;
    trace.count = trace.count.wrapping_add(1);
    if index < NOTES
        && let Some(note) = trace.notes.get_mut(index)
    {
        *note = Note { code, first, second };
    }
    0
}
