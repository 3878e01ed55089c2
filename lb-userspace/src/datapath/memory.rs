//! The packet programs' state in memory: the model that plans and tests run against.

use std::collections::BTreeMap;

use super::Datapath;
use super::counters::{Counters, Reason, Stats};
use super::model::{Command, Observed};
use super::port::{AttachedPort, Hook, Port, Served};
use crate::config;

/// A datapath that moves no packets.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    state: Observed,
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
