//! Which flows there are: what `/lb/v1/flows` answers.
//!
//! Input: the flow table, the names of who serves, and a [`Query`]. Output: a [`Listing`], sorted and limited.

mod names;
mod pattern;
mod query;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::control::report::BackendsReport;
use crate::datapath::flows::model::{Flow, State};
use crate::datapath::flows::{FlowTable, ReadFlows};
pub(in crate::control) use names::Names;
pub use query::{Query, RawQuery};

/// Flows that one answer holds unless the asker says otherwise.
pub const DEFAULT_LIMIT: usize = 1000;

/// One flow, as people and programs read it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FlowRow {
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Who dialled: address and port.
    pub client: String,
    /// What was dialled.
    pub vip: String,
    /// Who answers.
    pub server: String,
    /// The client as the server sees it, where that is another address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The VM behind the server address; empty if nobody serves there any more.
    pub vm: String,
    /// Namespace and name; empty if the VIP is nobody's any more.
    pub load_balancer: String,
    /// `Opening`, `Established`, `Finished` or `Closing`: the client's half.
    pub state: String,
    /// Since its last packet, in steps of two seconds.
    pub idle_seconds: u64,
    /// It stands in the overflow map.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overflowed: bool,
}

/// The last line of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// Flows in the answer.
    pub shown: usize,
    /// Flows that the query fits.
    pub matched: usize,
    /// Flows that there are.
    pub live: usize,
}

/// Flows in the order of VIP, protocol and client.
pub struct Listing {
    flows: Vec<Flow>,
    names: Names,
    /// How many there are.
    pub summary: Summary,
}

impl Listing {
    /// One after the other.
    pub fn rows(&self) -> impl Iterator<Item = FlowRow> {
        self.flows.iter().map(|flow| row(flow, &self.names))
    }
}

/// Lists flows.
#[derive(Clone)]
pub struct Lister(Arc<dyn FlowTable>);

impl Lister {
    /// Of a flow table.
    pub fn new(table: Arc<dyn FlowTable>) -> Self {
        Self(table)
    }

    /// Walks over the table; `backends` tells the names. Keeps no more flows in memory than twice those that are
    /// shown.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn list(&self, query: &Query, backends: &BackendsReport) -> Result<Listing, ReadFlows> {
        let names = Names::new(backends);
        let mut flows = Vec::new();
        let mut summary = Summary::default();
        let limit = query.limit;
        self.0.for_each_flow(&mut |flow| {
            summary.live += 1;
            if !query.fits(flow, &names) {
                return;
            }
            summary.matched += 1;
            flows.push(*flow);
            if flows.len() >= limit.saturating_mul(2).max(1024) {
                first(&mut flows, limit);
            }
        })?;
        first(&mut flows, limit);
        flows.sort_unstable_by_key(order);
        summary.shown = flows.len();
        Ok(Listing { flows, names, summary })
    }
}

/// Keeps the first in the order of a listing, unsorted.
fn first(flows: &mut Vec<Flow>, limit: usize) {
    if flows.len() > limit {
        flows.select_nth_unstable_by_key(limit, order);
        flows.truncate(limit);
    }
}

fn order(flow: &Flow) -> impl Ord + use<> {
    (flow.vip, flow.protocol, flow.client, flow.overflowed)
}

fn row(flow: &Flow, names: &Names) -> FlowRow {
    let source = if flow.source == flow.client { String::new() } else { flow.source.to_string() };
    FlowRow {
        protocol: format!("{:?}", flow.protocol).to_uppercase(),
        client: flow.client.to_string(),
        vip: flow.vip.to_string(),
        server: flow.server.to_string(),
        source,
        vm: names.vm(flow).unwrap_or_default().to_owned(),
        load_balancer: names.load_balancer(flow).map(ToString::to_string).unwrap_or_default(),
        state: state(flow.state).to_owned(),
        idle_seconds: flow.idle.as_secs(),
        overflowed: flow.overflowed,
    }
}

/// The word that people see.
const fn state(state: State) -> &'static str {
    match state {
        State::Empty | State::Busy => "",
        State::Opening | State::Replied => "Opening",
        State::Established => "Established",
        State::Finished => "Finished",
        State::Closing => "Closing",
    }
}

#[cfg(test)]
mod tests;
