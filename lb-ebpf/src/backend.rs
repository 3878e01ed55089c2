//! Backends.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::backend::{ACTIVE, BackendRef, BackendValue};
use lb_common::map;

/// By id; written by the agent, which gives an id away again only under the next generation.
#[btf_map]
static BACKENDS: Array<BackendValue, { map::MAX_BACKENDS as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// The backend that serves a flow; `None` once it is dead or its id was given away.
#[inline(always)]
pub fn serving(of: BackendRef) -> Option<&'static BackendValue> {
    BACKENDS.get(of.id()).filter(|backend| backend.serves(of))
}

/// Does a flow's backend still serve it?
#[inline(always)]
pub fn serves(of: BackendRef) -> bool {
    serving(of).is_some()
}

/// The backend with this id, if it takes new flows.
#[inline(always)]
pub fn active(id: u32) -> Option<(BackendRef, &'static BackendValue)> {
    let backend = BACKENDS.get(id)?;
    let active = id != 0 && backend.state == ACTIVE;
    active.then(|| (BackendRef::new(id, backend.generation), backend))
}
