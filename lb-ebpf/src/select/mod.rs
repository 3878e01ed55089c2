//! Selection: which backend takes a new flow.
//!
//! A client with affinity keeps the backend of its last flow while that takes new ones. Else the listener's
//! table decides: by the tuple's hash, by chance, or by the load of two that chance draws. As the table gives
//! each backend slots by its weight, so does whoever draws from it.

pub mod affinity;
mod load;
mod maglev;

use aya_ebpf::helpers::bpf_get_prandom_u32;
use lb_common::backend::{BackendRef, BackendValue};
use lb_common::flow::FlowKey;
use lb_common::hash;
use lb_common::listener::{LEAST_CONNECTIONS, ListenerValue, RANDOM};
use lb_common::net::Be16;
use lb_common::reason::Reason;

use crate::backend;
use crate::config::Clock;
use crate::mask::ones_unless_zero;
use affinity::Affine;

/// The hash by which a tuple's backend is chosen: the same on all nodes. With affinity, all flows of a client
/// have the same one, so that it finds its backend again where nothing is remembered of it.
#[inline(always)]
pub fn hash<A: Affine>(listener: &ListenerValue, key: &FlowKey<A>, clock: &Clock) -> u32 {
    // A branch here would double the paths that the verifier follows from here on.
    let kept = !ones_unless_zero(u64::from(listener.affinity)) as u16;
    let source_port = Be16::from_raw(key.source_port.raw() & kept);
    let ports = (source_port, key.destination_port);
    hash::tuple(&clock.config.maglev_secrets, key.source, key.destination, ports, key.protocol)
}

/// The backend for a new flow of `client` whose tuple has this hash, and the `attempt`-th alternative to it;
/// `None` where nobody takes new flows.
///
/// # Errors
///
/// `Inconsistent` where the listener's table is missing.
#[inline(always)]
pub fn choose<A: Affine>(
    listener: &ListenerValue,
    client: A,
    hash: u32,
    attempt: u32,
) -> Result<Option<(BackendRef, &'static BackendValue)>, Reason> {
    let mut id = 0;
    if attempt == 0 && listener.affinity != 0 {
        id = client.kept(listener.index, listener.affinity);
    }
    if id == 0 {
        id = lb_choose(listener.index, listener.slots, u32::from(listener.selection), hash, attempt);
    }
    if id == maglev::MISSING { Err(Reason::Inconsistent) } else { Ok(backend::active(id)) }
}

/// The backend of a hash's slot, whatever the listener's selection; `None` where nobody takes new flows.
#[inline(always)]
pub fn of_table(listener: &ListenerValue, hash: u32) -> Option<(BackendRef, &'static BackendValue)> {
    backend::active(maglev::lb_pick(listener.index, listener.slots, hash, 0))
}

/// What [`note`] has to know of a listener.
#[inline(always)]
pub fn habit(listener: &ListenerValue) -> u32 {
    u32::from(listener.affinity) | u32::from(listener.selection) << 16
}

/// Takes note of a new flow at the listener with this index and [`habit`].
#[inline(always)]
pub fn note<A: Affine>(listener: u32, habit: u32, client: A, chosen: BackendRef) {
    if habit != 0 {
        client.keep(listener, habit as u16, chosen);
        lb_note_load(habit >> 16, chosen.id());
    }
}

/// Counts a new flow where the selection asks for it. Gives 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_note_load(selection: u32, id: u32) -> u32 {
    if selection == u32::from(LEAST_CONNECTIONS) {
        load::add(id);
    }
    0
}

/// The choice by the table: a global function, which the verifier checks once, by itself. It gives an id, 0 for
/// nobody, or [`maglev::MISSING`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lb_choose(index: u32, slots: u32, selection: u32, hash: u32, attempt: u32) -> u32 {
    if selection == u32::from(RANDOM) {
        return maglev::lb_pick(index, slots, random(), 0);
    }
    if selection == u32::from(LEAST_CONNECTIONS) {
        let one = maglev::lb_pick(index, slots, random(), 0);
        let other = maglev::lb_pick(index, slots, random(), 0);
        return load::lighter(one, other);
    }
    maglev::lb_pick(index, slots, hash, attempt)
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: a plain helper call without arguments.
    unsafe { bpf_get_prandom_u32() }
}
