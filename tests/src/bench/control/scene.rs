//! A node, VMs behind a router, and what the agent is told about them.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use super::size::{Size, address, name};
use crate::lab::SHOP;
use crate::lab::agent::Installation;
use crate::lab::namespace::Namespace;
use crate::lab::registry::LabId;
use crate::lab::topology::{Hook, Topology, cable};

/// The node and the namespace in which all VMs' addresses are. Removed on drop.
pub(super) struct Scene {
    id: LabId,
    pub(super) size: Size,
    pub(super) vms: Namespace,
    pub(super) installation: Installation,
}

impl Scene {
    pub(super) fn create(size: Size) -> Result<Self> {
        let id = LabId::claim()?;
        // From here on a failure leaves something behind.
        Self::furnish(id.clone(), size).inspect_err(|_| drop(id.remove()))
    }

    fn furnish(id: LabId, size: Size) -> Result<Self> {
        let node = Namespace::create(format!("{}node", id.prefix()))?;
        let vms = Namespace::create(format!("{}vms", id.prefix()))?;
        for (outer, inner, network) in [("up0", "c0", "203.0.113"), ("in0", "v0", "192.0.2")] {
            cable((&vms, inner), (&node, outer))?;
            node.ip(&["address", "add", &format!("{network}.1/24"), "dev", outer])?;
            vms.ip(&["address", "add", &format!("{network}.2/24"), "dev", inner])?;
        }
        node.ip(&["route", "add", "198.18.0.0/16", "via", "192.0.2.2"])?;
        vms.ip(&["route", "add", "local", "198.18.0.0/16", "dev", "lo"])?;
        let installation = Installation::create(&id, &node, Topology::Router, Hook::Tc)?;
        let more = format!(
            "datapath:\n  maxListeners: 4096\n  maxBackends: {}\nmaglevSlots: {}\n",
            size.max_backends, size.slots
        );
        installation.configure(&(installation.configuration(Topology::Router, Hook::Tc) + &more))?;
        Ok(Self { id, size, vms, installation })
    }

    /// Everything that is to be served, as `lb apply` takes it.
    pub(super) fn write_manifest(&self) -> Result<String> {
        let mut text = "apiVersion: loadbalancer.harvesterhci.io/v1beta1\nkind: IPPool\nmetadata: {name: vips}\nspec:\n  \
                        ranges:\n    - {subnet: 198.19.0.0/16}\n  selector:\n    scope:\n      - \
                        {project: \"*\", namespace: \"*\", guestCluster: \"*\"}\n"
            .to_owned();
        for tier in 0..self.size.tiers {
            for group in 0..self.size.groups {
                // Writing to a string can't fail.
                let _ = write!(
                    text,
                    "---\napiVersion: loadbalancer.harvesterhci.io/v1beta1\nkind: LoadBalancer\nmetadata: \
                     {{name: {}, namespace: {SHOP}}}\nspec:\n  listeners: [{{port: 80, protocol: TCP, \
                     backendPort: {}}}]\n  backendServerSelector: {{t{tier}: [g{group}]}}\n{}",
                    name(tier, group),
                    self.size.server_port(tier, group),
                    self.health_check(tier, group),
                );
            }
        }
        let path = self.id.directory().join("manifest.yaml");
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn health_check(&self, tier: u32, group: u32) -> String {
        if tier > 0 {
            return String::new();
        }
        let port = self.size.server_port(tier, group);
        let period = self.size.period.as_secs();
        format!(
            "  healthCheck: {{port: {port}, successThreshold: 1, failureThreshold: 1, periodSeconds: {period}, \
             timeoutSeconds: 1}}\n"
        )
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Err(error) = self.id.remove() {
            eprintln!("lab {}: {error:#}; `cargo xtask lab down` tries again", self.id);
        }
    }
}

/// The VMs as the agent is told about them.
pub(super) struct Inventory {
    vms: Vec<Vm>,
    /// Addresses that have been given out.
    used: u32,
}

struct Vm {
    address: Ipv4Addr,
    /// By tier.
    groups: Vec<u32>,
    /// What the file says of it.
    text: String,
}

impl Vm {
    fn describe(&mut self, number: u32) {
        let labels: Vec<_> =
            self.groups.iter().enumerate().map(|(tier, group)| format!("t{tier}: g{group}")).collect();
        self.text = format!(
            "  - namespace: {SHOP}\n    name: vm-{number}\n    labels: {{{}}}\n    interfaces:\n      \
             - {{name: default, ipAddress: {}}}\n",
            labels.join(", "),
            self.address
        );
    }
}

impl Inventory {
    pub(super) fn new(size: &Size) -> Self {
        let groups = |vm| (0..size.tiers).map(|tier| size.group(vm, tier)).collect();
        let described = |number| {
            let mut vm = Vm { address: address(number), groups: groups(number), text: String::new() };
            vm.describe(number);
            vm
        };
        Self { vms: (0..size.vms()).map(described).collect(), used: size.vms() }
    }

    pub(super) fn address(&self, vm: u32) -> Ipv4Addr {
        self.vms[vm as usize].address
    }

    pub(super) fn group(&self, vm: u32, tier: u32) -> u32 {
        self.vms[vm as usize].groups[tier as usize]
    }

    /// Lets a VM serve another load balancer of a tier.
    pub(super) fn relabel(&mut self, vm: u32, tier: u32, group: u32) {
        self.vms[vm as usize].groups[tier as usize] = group;
        self.vms[vm as usize].describe(vm);
    }

    /// Gives a VM an address that none has had.
    pub(super) fn readdress(&mut self, vm: u32) {
        self.vms[vm as usize].address = address(self.used);
        self.vms[vm as usize].describe(vm);
        self.used += 1;
    }

    /// Replaces the file in one step.
    pub(super) fn write(&self, installation: &Installation) -> Result<()> {
        let mut text = "virtualMachines:\n".to_owned();
        text.extend(self.vms.iter().map(|vm| &*vm.text));
        let path = installation.facts();
        let fresh = path.with_extension("new");
        fs::write(&fresh, text).with_context(|| format!("write {}", fresh.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("replace {}", path.display()))
    }
}
