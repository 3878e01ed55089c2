//! All that this node can find out about VMs, as one provider.
//!
//! Who exists is declared; where they are reached is stated there, or told by guest agents, DHCP servers' lease files
//! and the node's neighbours, in this order.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use lb_common::net::Mac;
use tokio::sync::watch;

use super::addresses::{Sightings, Unstated};
use super::file::{self, Reading};
use super::guest::merge;
use super::guest::task::{Agents, AllTold};
use super::leases;
use super::leases::model::Leases;
use super::libvirt;
use super::links::Topology;
use super::vms::{Facts, Provider};
use crate::model::shared::share;
use crate::model::vm::VirtualMachines;

/// Who is asked.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Asked {
    /// The file that declares VMs.
    pub file: Option<PathBuf>,
    /// The socket of libvirt's daemon, whose domains are VMs as well.
    pub libvirt: Option<PathBuf>,
    /// Lease files of DHCP servers.
    pub leases: Vec<PathBuf>,
}

/// Files, libvirt, guests and neighbours.
#[derive(Debug)]
pub struct Sources {
    asked: Asked,
    topology: watch::Receiver<Arc<Topology>>,
    facts: watch::Sender<Facts>,
}

impl Sources {
    /// Of these, and this network's neighbours. Nothing is read before [`Sources::run`].
    pub fn new(asked: Asked, topology: watch::Receiver<Arc<Topology>>) -> Self {
        Self { asked, topology, facts: watch::Sender::default() }
    }

    /// Follows all of them, for ever.
    pub async fn run(self) {
        let Asked { file, libvirt, leases } = self.asked;
        let (declare, in_file) = watch::channel(Reading::default());
        let (tell, by_libvirt) = watch::channel(Reading::default());
        let (lend, leased) = watch::channel(Leases::default());
        // What is not asked closes its channel at once.
        let file = async move {
            if let Some(path) = file {
                file::task::run(path, declare).await;
            }
        };
        let libvirt = async move {
            if let Some(socket) = libvirt {
                libvirt::task::run(socket, tell).await;
            }
        };
        let lease_files = async move {
            if !leases.is_empty() {
                leases::task::run(leases, lend).await;
            }
        };
        let inputs = Inputs { in_file, by_libvirt, leases: leased, topology: self.topology };
        tokio::join!(file, libvirt, lease_files, inputs.follow(&self.facts));
    }
}

/// What is known, as it changes.
struct Inputs {
    in_file: watch::Receiver<Reading>,
    by_libvirt: watch::Receiver<Reading>,
    leases: watch::Receiver<Leases>,
    topology: watch::Receiver<Arc<Topology>>,
}

impl Inputs {
    /// Publishes what is declared, with the addresses that are found.
    async fn follow(mut self, facts: &watch::Sender<Facts>) {
        // The agent waits for the first facts, even that there is nobody: VMs must not look gone that nobody has asked
        // yet. A channel that is closed never tells any.
        drop(self.in_file.changed().await);
        drop(self.by_libvirt.changed().await);
        drop(self.leases.changed().await);
        let mut agents = Agents::default();
        let mut reading = self.declared();
        agents.ask(&reading.declared.guests);
        agents.all_told().await;
        let mut unstated = Unstated::default();
        unstated.follow(&reading.declared.vms);
        let mut macs = unstated.macs();
        let mut sightings = look(&self.leases, &self.topology, &macs);
        let mut is_first = true;
        loop {
            let vms = complete(&reading.declared.vms, &agents.told(), &sightings, &facts.borrow().vms);
            let lacking = self.leases.borrow().problem.clone();
            let new = Facts { vms, problem: reading.problem.clone(), lacking };
            facts.send_if_modified(|facts| {
                let is_news = is_first || *facts != new;
                *facts = new;
                is_news
            });
            is_first = false;
            loop {
                let (is_declared, is_news) = tokio::select! {
                    Ok(()) = self.in_file.changed() => (true, true),
                    Ok(()) = self.by_libvirt.changed() => (true, true),
                    () = agents.changed() => break,
                    Ok(()) = self.leases.changed() => (false, true),
                    // Most of what happens in a network is about nobody's address here.
                    Ok(()) = self.topology.changed() => (false, false),
                };
                if is_declared {
                    reading = self.declared();
                    agents.ask(&reading.declared.guests);
                    unstated.follow(&reading.declared.vms);
                    macs = unstated.macs();
                }
                let new = look(&self.leases, &self.topology, &macs);
                if is_news || new != sightings {
                    sightings = new;
                    break;
                }
            }
        }
    }

    /// The VMs of the file, and those of libvirt whose names the file does not have.
    fn declared(&mut self) -> Reading {
        let mut reading = self.in_file.borrow_and_update().clone();
        let by_libvirt = self.by_libvirt.borrow_and_update();
        if !by_libvirt.declared.vms.is_empty() {
            let vms = Arc::make_mut(&mut Arc::make_mut(&mut reading.declared).vms);
            for (key, vm) in &*by_libvirt.declared.vms {
                vms.entry(key.clone()).or_insert_with(|| Arc::clone(vm));
            }
        }
        reading.problem = reading.problem.or_else(|| by_libvirt.problem.clone());
        reading
    }
}

fn look(
    leases: &watch::Receiver<Leases>,
    topology: &watch::Receiver<Arc<Topology>>,
    macs: &BTreeSet<Mac>,
) -> Sightings {
    Sightings::new(&leases.borrow().live, &topology.borrow(), macs)
}

/// The VMs with what their guests tell and what is seen of them. What is as it was before is shared.
fn complete(
    declared: &Arc<VirtualMachines>,
    told: &AllTold,
    sightings: &Sightings,
    before: &VirtualMachines,
) -> Arc<VirtualMachines> {
    let mut vms = Arc::clone(declared);
    for (key, told) in told {
        if let Some(vm) = declared.get(key) {
            Arc::make_mut(&mut vms).insert(key.clone(), merge(vm, told));
        }
    }
    sightings.complete(&mut vms);
    if !Arc::ptr_eq(&vms, declared) {
        share(Arc::make_mut(&mut vms), before);
    }
    vms
}

impl Provider for Sources {
    fn facts(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    fn place(&self) -> String {
        let places = self.asked.file.iter().chain(&self.asked.libvirt);
        places.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;
