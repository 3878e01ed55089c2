//! Counters. Each CPU has its own, so nothing is locked and nothing is lost.

use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::backend::BackendRef;
use lb_common::map;
use lb_common::reason::{REASONS as COUNT, Reason};
use lb_common::stats::{Stats, Traffic};

use crate::observe;

/// By listener index, what no backend took; read by the agent. The rest is what its backends took.
#[btf_map]
static LISTENER_STATS: PerCpuArray<Stats, { map::MAX_LISTENERS as usize }> = PerCpuArray::new();

/// By listener index, what backends took that are gone. The agent's alone, here to be kept with the others.
#[btf_map]
static LISTENER_PASTS: Array<Stats, { map::MAX_LISTENERS as usize }> = Array::new();

/// By backend id; read by the agent.
#[btf_map]
static BACKEND_STATS: PerCpuArray<Stats, { map::MAX_BACKENDS as usize }> = PerCpuArray::new();

/// By [`Reason`]; read by the agent.
#[btf_map]
static REASONS: PerCpuArray<u64, { COUNT as usize }> = PerCpuArray::new();

/// Counts a reason.
#[inline(always)]
pub fn count(reason: Reason) {
    observe::reason(reason);
    if let Some(counter) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own counter, and programs on one CPU do not interrupt each other here: XDP and
        // tc both run in softirq context.
        unsafe { *counter += 1 };
    }
}

/// Counts a packet of `bytes` towards the client (`reply`) or towards the backend.
#[inline(always)]
pub fn packet(backend: BackendRef, reply: bool, bytes: u32) {
    // SAFETY: this CPU's own counters, as in `count`.
    let Some(stats) = (unsafe { BACKEND_STATS.get_ptr_mut(backend.id()).and_then(|stats| stats.as_mut()) })
    else {
        return;
    };
    add(if reply { &mut stats.reply } else { &mut stats.forward }, bytes);
}

#[inline(always)]
fn add(traffic: &mut Traffic, bytes: u32) {
    traffic.packets += 1;
    traffic.bytes += u64::from(bytes);
}

/// Counts a new flow.
#[inline(always)]
pub fn flow(backend: BackendRef) {
    if let Some(stats) = BACKEND_STATS.get_ptr_mut(backend.id()) {
        // SAFETY: this CPU's own counters, as in `count`.
        unsafe { (*stats).flows += 1 };
    }
}

/// Counts a packet that no backend took.
#[inline(always)]
pub fn refused(listener: u32) {
    if let Some(stats) = LISTENER_STATS.get_ptr_mut(listener) {
        // SAFETY: this CPU's own counters, as in `count`.
        unsafe { (*stats).refused += 1 };
    }
}

/// Counts a reason from a program that runs for a process, which packets may interrupt.
#[inline(always)]
pub fn count_in_process(reason: Reason) {
    if let Some(counter) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own counter, and the addition can't be interrupted.
        unsafe { add_in_one_step(counter, 1) };
    }
}

/// Counts a backend that a process of the node dialled.
#[inline(always)]
pub fn dialled(backend: BackendRef) {
    if let Some(stats) = BACKEND_STATS.get_ptr_mut(backend.id()) {
        // SAFETY: the field is in the map's value.
        let counter = unsafe { &raw mut (*stats).flows };
        // SAFETY: as in `count_in_process`.
        unsafe { add_in_one_step(counter, 1) };
    }
}

/// Counts a process of the node that no backend could take.
#[inline(always)]
pub fn dial_refused(listener: u32) {
    if let Some(stats) = LISTENER_STATS.get_ptr_mut(listener) {
        // SAFETY: the field is in the map's value.
        let counter = unsafe { &raw mut (*stats).refused };
        // SAFETY: as in `count_in_process`.
        unsafe { add_in_one_step(counter, 1) };
    }
}

/// Adds to a counter of several CPUs' in one step.
///
/// # Safety
///
/// `counter` is aligned and may be written.
#[inline(always)]
pub unsafe fn add_in_one_step(counter: *mut u64, amount: u64) {
    #[cfg(target_arch = "bpf")]
    {
        use core::intrinsics::{AtomicOrdering, atomic_xadd};
        // SAFETY: the caller promises a valid word.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, amount) };
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        use core::sync::atomic::{AtomicU64, Ordering};
        // SAFETY: the caller promises a valid word.
        unsafe { AtomicU64::from_ptr(counter) }.fetch_add(amount, Ordering::Relaxed);
    }
}
