//! How many flows a CPU enters in a second, so that a flood leaves it time for those that it has.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use lb_common::reason::Reason;

use crate::config::{Clock, nanoseconds};

/// One token bucket of each CPU's own, see [`Rate::take`](lb_common::policy::Rate::take); nobody else reads it.
#[btf_map]
static GUARD: PerCpuArray<u64, 1> = PerCpuArray::new();

/// May this CPU enter another flow?
///
/// # Errors
///
/// `NodeLimited`.
#[inline(always)]
pub(super) fn entry_granted(clock: &Clock) -> Result<(), Reason> {
    let rate = clock.config.new_flows;
    if rate.is_unlimited() {
        return Ok(());
    }
    let Some(spent) = GUARD.get_ptr_mut(0) else { return Ok(()) };
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    match rate.take(unsafe { *spent }, nanoseconds()) {
        Some(until) => {
            // SAFETY: as above.
            unsafe { *spent = until };
            Ok(())
        }
        None => Err(Reason::NodeLimited),
    }
}
