//! Source ranges.

use aya_ebpf::btf_maps::LpmTrie;
use aya_ebpf::macros::btf_map;
use lb_common::flow::FlowKey;
use lb_common::listener::{FILTERED, ListenerValue};
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::policy::{DENIED, SourceKey};
use lb_common::reason::Reason;

use super::Clients;
use crate::prefix::Whole;

/// Written by the agent, before the listeners that say so are consulted. Where a load balancer allows ranges,
/// its widest prefix denies all others.
#[btf_map]
static SOURCES_V4: LpmTrie<SourceKey<Ipv4>, u32, { map::MAX_SOURCES as usize }> = LpmTrie::new();

/// As [`SOURCES_V4`].
#[btf_map]
static SOURCES_V6: LpmTrie<SourceKey<Ipv6>, u32, { map::MAX_SOURCES as usize }> = LpmTrie::new();

/// May the client open flows at all?
///
/// # Errors
///
/// `SourceDenied`.
#[inline(always)]
pub fn admit<A: Clients>(key: &FlowKey<A>, listener: &ListenerValue) -> Result<(), Reason> {
    if listener.flags & FILTERED == 0 {
        return Ok(());
    }
    match A::listed(SourceKey::new(listener.balancer, key.source)) {
        Some(DENIED) => Err(Reason::SourceDenied),
        _ => Ok(()),
    }
}

#[inline(always)]
pub(super) fn listed_v4(key: SourceKey<Ipv4>) -> Option<u32> {
    SOURCES_V4.get(Whole::new(key).key()).copied()
}

#[inline(always)]
pub(super) fn listed_v6(key: SourceKey<Ipv6>) -> Option<u32> {
    SOURCES_V6.get(Whole::new(key).key()).copied()
}
