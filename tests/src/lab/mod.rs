//! Network labs: clients, a node with the agent, and VMs, in network namespaces.
//!
//! A [`Lab`] is described by a [`Spec`], removed on drop, when its process is interrupted, and, should the
//! process be killed, at the next start of any lab. Several may exist at once. VMs are namespaces: what the
//! node sees of them, ports in a bridge, is what it sees of real ones.

pub mod agent;
pub mod beyond;
pub mod cgroup;
pub mod client;
pub mod facts;
pub mod host;
pub mod interrupt;
pub mod ipv6;
pub mod kubectl;
pub mod namespace;
mod pass;
pub mod pins;
pub mod process;
pub mod registry;
pub mod server;
pub mod terminal;
pub mod tools;
pub mod topology;
pub mod trunk;
pub mod wait;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use agent::{Agent, Installation};
use facts::Fact;
use namespace::Namespace;
use registry::LabId;
use serde_json::Value;
use topology::{Hook, Topology, Wiring, vm_mac};

/// The namespace of the VMs' and load balancers' objects.
pub const SHOP: &str = "shop";

/// What a lab is to be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Spec {
    /// How client, node and VMs are connected.
    pub topology: Topology,
    /// Where packet programs hook in.
    pub hook: Hook,
    /// How many VMs there are.
    pub vms: u8,
}

/// A VM.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its name, `vm1` and so on.
    pub name: String,
    /// Where its processes are.
    pub namespace: Namespace,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its address of IPv6.
    pub address_v6: Ipv6Addr,
    /// Its MAC address.
    pub mac: String,
}

impl Vm {
    /// What the agent is told about it: in namespace [`SHOP`], labelled `app: web`, and `vm` with its name.
    pub fn fact(&self) -> Fact {
        Fact {
            namespace: SHOP.to_owned(),
            name: self.name.clone(),
            labels: [("app", "web"), ("vm", &self.name)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            running: true,
            mac: self.mac.clone(),
            address: self.address,
            address_v6: self.address_v6,
        }
    }
}

/// A lab without anything running in it yet.
#[derive(Debug)]
pub struct Lab {
    id: LabId,
    /// What it is.
    pub spec: Spec,
    /// Its namespaces.
    pub wiring: Wiring,
    /// Its VMs.
    pub vms: Vec<Vm>,
    /// The agent's files.
    pub installation: Installation,
}

impl Lab {
    /// Creates the namespaces, interfaces and files.
    ///
    /// # Errors
    /// Without root, or when a tool is missing.
    pub fn create(spec: Spec) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "network namespaces need root");
        let id = LabId::claim()?;
        // From here on a failure leaves something behind.
        Self::furnish(id.clone(), spec).inspect_err(|_| drop(id.remove()))
    }

    fn furnish(id: LabId, spec: Spec) -> Result<Self> {
        let wiring = Wiring::create(spec.topology, &id.prefix()).context("wire the lab up")?;
        let installation = Installation::create(&id, &wiring.node, spec.topology, spec.hook)?;
        if spec.hook == Hook::Xdp {
            for (namespace, interface) in wiring.peers(spec.topology) {
                pass::attach(&namespace, interface, &id.peer_pins())?;
            }
        }
        let mut lab = Self { id, spec, wiring, vms: Vec::new(), installation };
        for _ in 0..spec.vms {
            lab.add_vm()?;
        }
        lab.write_facts(&lab.facts())?;
        Ok(lab)
    }

    /// Its id.
    pub fn id(&self) -> &LabId {
        &self.id
    }

    /// Where clients are.
    pub fn client(&self) -> &Namespace {
        &self.wiring.client
    }

    /// Where the agent is.
    pub fn node(&self) -> &Namespace {
        &self.wiring.node
    }

    /// A command that runs as a process of the node, as far as cgroups go, in any of the lab's namespaces.
    pub fn process_in(&self, namespace: &Namespace, program: &str) -> Command {
        match self.id.cgroup() {
            Some(cgroup) => cgroup::command(namespace, &cgroup, program),
            None => namespace.command(program),
        }
    }

    /// Connects a host of the lab with the node, by another uplink in its bridge.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn add_uplink(&self, host: &Namespace, interface: &str, uplink: &str) -> Result<()> {
        topology::cable((host, interface), (self.node(), uplink))?;
        self.node().ip(&["link", "set", uplink, "master", "br0"])?;
        if self.spec.hook == Hook::Xdp {
            pass::attach(host, interface, &self.id.peer_pins())?;
        }
        Ok(())
    }

    /// A directory for a server's files.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.id.directory().join(name);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// Adds a VM, which the facts do not mention yet.
    ///
    /// # Errors
    /// When its interface can't be made.
    pub fn add_vm(&mut self) -> Result<&Vm> {
        let number = u8::try_from(self.vms.len() + 1).context("count the VMs")?;
        let namespace = self.wiring.add_vm(self.spec.topology, &self.id.prefix(), number)?;
        self.vms.push(Vm {
            name: format!("vm{number}"),
            namespace,
            address: self.spec.topology.vm(number),
            address_v6: self.spec.topology.vm_v6(number),
            mac: vm_mac(number),
        });
        self.vms.last().context("the VM just added")
    }

    /// What there is to tell about all VMs.
    pub fn facts(&self) -> Vec<Fact> {
        self.vms.iter().map(Vm::fact).collect()
    }

    /// Tells the agent.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_facts(&self, facts: &[Fact]) -> Result<()> {
        facts::write(&self.installation.facts(), facts)
    }

    /// Starts the agent.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_agent(&self) -> Result<Agent> {
        self.installation.start()
    }

    /// Creates a pool of the topology's VIPs for all load balancers.
    ///
    /// # Errors
    /// When the agent refuses.
    pub fn create_pool(&self) -> Result<()> {
        let (subnet, start, end) = self.spec.topology.vips();
        let range = format!("{subnet},start={start},end={end}");
        self.installation.lb(&["pool", "create", "lab", "--range", &range, "--global"]).map(drop)
    }

    /// Creates the pool `lab6` of the topology's VIPs of IPv6, for load balancers that name it.
    ///
    /// # Errors
    /// When the agent refuses.
    pub fn create_pool_v6(&self) -> Result<()> {
        let (subnet, start, end) = self.spec.topology.vips_v6();
        let range = format!("{subnet},start={start},end={end}");
        self.installation.lb(&["pool", "create", "lab6", "--range", &range]).map(drop)
    }

    /// Creates a load balancer over the VMs labelled `app: web`, waits until it is ready, and returns its VIP.
    ///
    /// # Errors
    /// When the agent refuses, or no VM gets ready.
    pub fn create_lb(&self, name: &str, arguments: &[&str]) -> Result<Ipv4Addr> {
        match self.create_any_lb(name, arguments)? {
            IpAddr::V4(vip) => Ok(vip),
            IpAddr::V6(vip) => bail!("{name} got {vip}, not an address of IPv4"),
        }
    }

    /// As [`Lab::create_lb`], with a VIP of the pool `lab6`.
    ///
    /// # Errors
    /// As there.
    pub fn create_lb_v6(&self, name: &str, arguments: &[&str]) -> Result<Ipv6Addr> {
        match self.create_any_lb(name, &[arguments, &["--pool", "lab6"]].concat())? {
            IpAddr::V4(vip) => bail!("{name} got {vip}, not an address of IPv6"),
            IpAddr::V6(vip) => Ok(vip),
        }
    }

    /// As [`Lab::create_lb`], with a VIP of either family.
    ///
    /// # Errors
    /// As there.
    pub fn create_any_lb(&self, name: &str, arguments: &[&str]) -> Result<IpAddr> {
        let always = ["create", name, "--namespace", SHOP, "--selector", "app=web", "--wait"];
        let created = self.installation.json(&[&always[..], arguments].concat())?;
        let address = created.pointer("/status/address").and_then(|address| address.as_str());
        let address = address.with_context(|| format!("no address in {created}"))?;
        address.parse().with_context(|| format!("parse {address}"))
    }

    /// What the agent says of a VM's backend, at the load balancer's first listener.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn backend_state(&self, namespace: &str, name: &str, vm: &str) -> Result<String> {
        let report = self.installation.json(&["backend", "list", name, "--namespace", namespace])?;
        let backends = report.pointer("/loadBalancers/0/listeners/0/backends").and_then(Value::as_array);
        let mut backends = backends.with_context(|| format!("no backends in {report}"))?.iter();
        let backend = backends.find(|backend| backend["vm"] == vm);
        let backend = backend.with_context(|| format!("no backend {vm} in {report}"))?;
        Ok(backend["state"].as_str().unwrap_or_default().to_owned())
    }

    /// Leaves the lab and what runs in it to `lab down`.
    ///
    /// # Errors
    /// When that can't be written down.
    pub fn keep(self) -> Result<()> {
        self.id.keep()?;
        std::mem::forget(self);
        Ok(())
    }

    /// Removes the lab and says whether that worked, which drop can't.
    ///
    /// # Errors
    /// When something is left.
    pub fn remove(self) -> Result<()> {
        let id = self.id.clone();
        std::mem::forget(self);
        id.remove()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.id.remove() {
            eprintln!("lab {}: {error:#}; `cargo xtask lab down` tries again", self.id);
        }
    }
}
