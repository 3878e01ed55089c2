//! What a plan looks at: everything, or what may not be as it should.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use crate::control::model::{Altered, Desired};
use crate::datapath::model::{BalancerIndex, ListenerAddress, ListenerIndex};

use super::Planner;
use super::catalogue::Catalogue;

/// What is looked at.
#[derive(Debug)]
pub(super) struct Scope {
    /// Desired, or not.
    pub(super) listeners: BTreeSet<ListenerAddress>,
    /// With their policies, likewise.
    pub(super) vips: BTreeSet<IpAddr>,
    /// Listeners, and pieces of ranges, that go unless they are desired.
    pub(super) pieces: BTreeSet<ListenerAddress>,
    /// Whose table and backends go unless a desired listener has it.
    pub(super) indices: BTreeSet<ListenerIndex>,
    /// Whose source ranges and limits go unless they are desired.
    pub(super) balancers: BTreeSet<BalancerIndex>,
}

impl Scope {
    /// All that is desired, observed or remembered.
    pub(super) fn whole(planner: &Planner, desired: &Desired, catalogue: &Catalogue) -> Self {
        let observed = catalogue.observed();
        let listeners: BTreeSet<_> =
            desired.listeners.keys().copied().chain(planner.indices.listeners()).collect();
        let vips = desired.vips.keys().chain(observed.vips.keys()).copied();
        let vips = vips.chain(planner.balancers.vips()).chain(listeners.iter().map(|listener| listener.vip));
        Self {
            vips: vips.collect(),
            listeners,
            pieces: observed.listeners.keys().copied().collect(),
            indices: observed.tables.keys().copied().chain(catalogue.inhabited()).collect(),
            balancers: observed.sources.keys().chain(observed.limits.keys()).copied().collect(),
        }
    }

    /// What was altered, and what time has come for.
    pub(super) fn of(planner: &Planner, altered: &Altered, catalogue: &Catalogue, now: Instant) -> Self {
        let Planner { indices, balancers, timetable, .. } = planner;
        let stopped = altered.stopped.iter().flat_map(|address| catalogue.left_at(*address));
        let stopped = stopped.filter_map(|index| indices.taker(index));
        let listeners: BTreeSet<_> =
            altered.listeners.iter().copied().chain(stopped).chain(timetable.due(now)).collect();
        let vips = altered.vips.iter().copied().chain(listeners.iter().map(|listener| listener.vip));
        let vips: BTreeSet<_> = vips.collect();
        let pieces = listeners.iter().flat_map(|listener| listener.pieces());
        Self {
            pieces: pieces.filter(|piece| catalogue.observed().listeners.contains_key(piece)).collect(),
            indices: listeners.iter().filter_map(|listener| indices.of(*listener)).collect(),
            balancers: vips.iter().filter_map(|vip| balancers.of(*vip)).collect(),
            listeners,
            vips,
        }
    }
}
