//! VIPs that must go at once, without a plan for the rest.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::datapath::model::{BackendEntry, BackendState, Command, ListenerIndex};

use super::catalogue::Catalogue;

/// The commands that take VIPs out, with their listeners and the flows to them; everything else stays. What clients
/// were granted goes with the next plan.
pub fn withdrawal(catalogue: &Catalogue, vips: &BTreeSet<IpAddr>) -> Vec<Command> {
    let listeners: Vec<_> = vips.iter().flat_map(|vip| catalogue.listeners_of(*vip)).collect();
    let indices: BTreeSet<ListenerIndex> = listeners.iter().map(|(_, entry)| entry.index).collect();
    let tables = indices.iter().filter(|index| catalogue.observed().tables.contains_key(index));
    let backends = indices.iter().flat_map(|index| catalogue.living_at(*index));
    let disown = vips.iter().map(|vip| Command::RemoveVip(*vip));
    let close = listeners.iter().map(|(address, _)| Command::RemoveListener(*address));
    let unpoint = tables.map(|index| Command::RemoveTable(*index));
    let evict = backends
        .map(|(id, entry)| Command::PutBackend(id, BackendEntry { state: BackendState::Dead, ..*entry }));
    disown.chain(close).chain(unpoint).chain(evict).collect()
}
