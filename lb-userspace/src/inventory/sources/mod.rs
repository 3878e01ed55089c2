//! All that this node can find out about VMs, as one provider.
//!
//! Who exists is declared; where they are reached is stated there, or told by guest agents, DHCP servers' lease files
//! and the node's neighbours, in this order.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use lb_common::net::Mac;
use tokio::sync::watch;

use super::addresses::{self, Sightings};
use super::file::{self, Reading};
use super::guest::merge;
use super::guest::task::Agents;
use super::leases;
use super::leases::model::Leases;
use super::links::Topology;
use super::vms::{Facts, Provider};
use crate::model::meta::NamespacedName;
use crate::model::vm::{VirtualMachine, VirtualMachines};

/// Files, guests and neighbours.
#[derive(Debug)]
pub struct Sources {
    file: PathBuf,
    leases: Vec<PathBuf>,
    topology: watch::Receiver<Topology>,
    facts: watch::Sender<Facts>,
}

impl Sources {
    /// VMs of this file, addresses of these lease files and this network's neighbours. Nothing is read before
    /// [`Sources::run`].
    pub fn new(file: impl Into<PathBuf>, leases: Vec<PathBuf>, topology: watch::Receiver<Topology>) -> Self {
        Self { file: file.into(), leases, topology, facts: watch::Sender::default() }
    }

    /// Follows all of them, for ever.
    pub async fn run(self) {
        let (declare, declared) = watch::channel(Reading::default());
        let (lend, leases) = watch::channel(Leases::default());
        let lease_files = async move {
            if !self.leases.is_empty() {
                leases::task::run(self.leases, lend).await;
            }
        };
        let followed = follow(declared, leases, self.topology, &self.facts);
        tokio::join!(file::task::run(self.file, declare), lease_files, followed);
    }
}

/// Publishes what is declared, with the addresses that are found.
async fn follow(
    mut declared: watch::Receiver<Reading>,
    mut leases: watch::Receiver<Leases>,
    mut topology: watch::Receiver<Topology>,
    facts: &watch::Sender<Facts>,
) {
    let mut agents = Agents::default();
    // The agent waits for the first facts, even that there is nobody: VMs must not look gone that nobody has asked yet.
    if declared.changed().await.is_err() {
        return;
    }
    // Without lease files, nobody will ever tell of any.
    drop(leases.changed().await);
    let mut reading = declared.borrow_and_update().clone();
    agents.ask(&reading.declared.guests);
    agents.all_told().await;
    let mut macs = addresses::wanted(&reading.declared.vms);
    let mut sightings = look(&leases, &topology, &macs);
    let mut is_first = true;
    loop {
        let new = complete(&reading, &mut agents, &sightings, leases.borrow().problem.clone());
        facts.send_if_modified(|facts| {
            let is_news = is_first || *facts != new;
            *facts = new;
            is_news
        });
        is_first = false;
        loop {
            tokio::select! {
                changed = declared.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    reading.clone_from(&declared.borrow_and_update());
                    agents.ask(&reading.declared.guests);
                    macs = addresses::wanted(&reading.declared.vms);
                    sightings = look(&leases, &topology, &macs);
                    break;
                }
                () = agents.changed() => break,
                Ok(()) = leases.changed() => {
                    leases.mark_unchanged();
                    sightings = look(&leases, &topology, &macs);
                    break;
                }
                Ok(()) = topology.changed() => {
                    topology.mark_unchanged();
                    // Most of what happens in a network is about nobody's address here.
                    let new = look(&leases, &topology, &macs);
                    if new != sightings {
                        sightings = new;
                        break;
                    }
                }
            }
        }
    }
}

fn look(
    leases: &watch::Receiver<Leases>,
    topology: &watch::Receiver<Topology>,
    macs: &BTreeSet<Mac>,
) -> Sightings {
    Sightings::new(&leases.borrow().live, &topology.borrow(), macs)
}

fn complete(reading: &Reading, agents: &mut Agents, sightings: &Sightings, lacking: Option<String>) -> Facts {
    let told = agents.told();
    let complete = |(key, declared): (&NamespacedName, &VirtualMachine)| {
        let mut vm = merge(declared, told.get(key));
        sightings.complete(&mut vm);
        (key.clone(), vm)
    };
    let vms: VirtualMachines = reading.declared.vms.iter().map(complete).collect();
    Facts { vms: Arc::new(vms), problem: reading.problem.clone(), lacking }
}

impl Provider for Sources {
    fn facts(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    fn place(&self) -> String {
        self.file.display().to_string()
    }
}

#[cfg(test)]
mod tests;
