//! VIPs that must go at once, without a plan for the rest.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::datapath::model::{BackendEntry, BackendState, Command, ListenerIndex, Observed};

/// The commands that take VIPs out, with their listeners and the flows to them; everything else stays. What clients
/// were granted goes with the next plan.
pub fn withdrawal(observed: &Observed, vips: &BTreeSet<IpAddr>) -> Vec<Command> {
    let listeners = observed.listeners.iter().filter(|(address, _)| vips.contains(&address.vip));
    let indices: BTreeSet<ListenerIndex> = listeners.clone().map(|(_, entry)| entry.index).collect();
    let tables = observed.tables.keys().filter(|index| indices.contains(index));
    let lives = |entry: &BackendEntry| entry.state != BackendState::Dead && indices.contains(&entry.listener);
    let backends = observed.backends.iter().filter(|(_, entry)| lives(entry));
    let disown = vips.iter().map(|vip| Command::RemoveVip(*vip));
    let close = listeners.map(|(address, _)| Command::RemoveListener(*address));
    let unpoint = tables.map(|index| Command::RemoveTable(*index));
    let evict = backends
        .map(|(id, entry)| Command::PutBackend(*id, BackendEntry { state: BackendState::Dead, ..*entry }));
    disown.chain(close).chain(unpoint).chain(evict).collect()
}
