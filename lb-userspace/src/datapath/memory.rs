//! The packet programs' state in memory: the model that plans and tests run against.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Datapath;
use super::counters::{Counters, Reason, Stats};
use super::flows::model::{Flow, Survey};
use super::flows::{FlowTable, ReadFlows};
use super::model::{Command, Observed};
use super::port::{AttachedPort, Hook, Port, Served};
use crate::config;

/// A datapath that moves no packets.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    state: Observed,
    flows: MemoryFlows,
}

/// Flows that somebody put there.
#[derive(Clone, Default, Debug)]
pub struct MemoryFlows(Arc<std::sync::Mutex<Vec<Flow>>>);

impl MemoryFlows {
    /// Puts others in their place.
    pub fn replace(&self, flows: Vec<Flow>) {
        // A thread that panicked over them left them as they are.
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = flows;
    }

    fn all(&self) -> Vec<Flow> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl FlowTable for MemoryFlows {
    fn for_each_flow(&self, visitor: &mut dyn FnMut(&Flow)) -> Result<(), ReadFlows> {
        self.all().iter().for_each(visitor);
        Ok(())
    }

    fn survey(&self) -> Result<Survey, ReadFlows> {
        let mut survey = Survey::default();
        for flow in self.all() {
            survey.by_backend.entry(flow.backend).or_default().add(flow.state);
            survey.v4.live += 1;
            survey.v4.entries += 2;
        }
        Ok(survey)
    }

    fn age(&self) -> Result<Survey, ReadFlows> {
        self.survey()
    }
}

impl Memory {
    /// Its flows: whoever holds this may put others there.
    pub fn flows(&self) -> MemoryFlows {
        self.flows.clone()
    }
}

impl Datapath for Memory {
    type Error = std::convert::Infallible;

    fn observe(&self) -> Result<Observed, Self::Error> {
        Ok(self.state.clone())
    }

    fn execute(&mut self, command: &Command) -> Result<(), Self::Error> {
        self.state.apply(command);
        Ok(())
    }

    fn serve(&mut self, ports: &BTreeMap<u32, Port>) -> Result<Served, Self::Error> {
        let attached = ports.values().map(|port| (port.ifindex, attached(port))).collect();
        Ok(Served { attached, refused: Vec::new() })
    }

    fn counters(&self, observed: &Observed) -> Result<Counters, Self::Error> {
        Ok(Counters {
            listeners: observed.listeners.values().map(|entry| (entry.index, Stats::default())).collect(),
            backends: observed.backends.keys().map(|id| (*id, Stats::default())).collect(),
            reasons: Reason::ALL.into_iter().map(|reason| (reason, 0)).collect(),
            ..Counters::default()
        })
    }

    fn flow_table(&self) -> Arc<dyn FlowTable> {
        Arc::new(self.flows.clone())
    }
}

fn attached(port: &Port) -> AttachedPort {
    let hook = match port.hook {
        config::Hook::Auto | config::Hook::Tc => Hook::Tc,
        config::Hook::Xdp => Hook::Xdp,
        config::Hook::XdpGeneric => Hook::XdpGeneric,
    };
    let reason = "nothing is attached in memory".to_owned();
    AttachedPort { ifindex: port.ifindex, name: port.name.clone(), role: port.role, hook, reason }
}
