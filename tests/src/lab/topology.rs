//! The three ways in which a node stands between clients and VMs, wired up with namespaces and veths.
//!
//! | | `Bridge` | `Stick` | `Router` |
//! |---|---|---|---|
//! | client | veth to the node's `up0` | port of the switch | veth to the node's `up0` |
//! | node | `up0` and the VM ports `vmN` in `br0` | `eth0`, a port of the switch | `up0`, and `in0`, a port of the switch |
//! | VMs | behind `vmN` | ports of the switch | ports of the switch; the node is their gateway |
//! | VIPs | in the one network | in the one network | a network that the client routes to the node |

use std::net::Ipv4Addr;

use anyhow::Result;
use clap::ValueEnum;

use super::ipv6;
use super::namespace::Namespace;

/// How client, node and VMs are connected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum)]
pub enum Topology {
    /// A VM host: uplink and VM ports in one bridge.
    Bridge,
    /// A node with one interface, in the same network as clients and VMs.
    Stick,
    /// A node with two interfaces, the VMs' gateway.
    Router,
}

/// Where packet programs hook in on uplinks, as the agent's configuration spells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum)]
pub enum Hook {
    /// Native XDP.
    Xdp,
    /// Generic XDP.
    XdpGeneric,
    /// tcx, else clsact.
    Tc,
    /// The agent's choice.
    Auto,
}

impl Hook {
    /// Its name in the agent's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc => "tc",
            Self::Auto => "auto",
        }
    }
}

/// The lab's addresses are for documentation: nothing of it can be mistaken for a real network.
impl Topology {
    /// The client.
    pub fn client(self) -> Ipv4Addr {
        match self {
            Self::Bridge | Self::Stick => Ipv4Addr::new(192, 0, 2, 50),
            Self::Router => Ipv4Addr::new(198, 51, 100, 50),
        }
    }

    /// The node, in the VMs' network.
    pub fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 1)
    }

    /// The VM with this number, from 1.
    pub fn vm(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 10 + number)
    }

    /// The network of the VIPs, and the first and the last that may be given out.
    pub fn vips(self) -> (&'static str, Ipv4Addr, Ipv4Addr) {
        match self {
            Self::Bridge | Self::Stick => {
                ("192.0.2.0/24", Ipv4Addr::new(192, 0, 2, 200), Ipv4Addr::new(192, 0, 2, 220))
            }
            Self::Router => {
                ("203.0.113.0/24", Ipv4Addr::new(203, 0, 113, 10), Ipv4Addr::new(203, 0, 113, 30))
            }
        }
    }

    /// The node's interfaces to clients, and to hosts whose gateway it is.
    pub fn uplinks(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Bridge => (&["up0"], &[]),
            Self::Stick => (&["eth0"], &[]),
            Self::Router => (&["up0"], &["in0"]),
        }
    }
}

/// The MAC address of the VM with this number.
pub fn vm_mac(number: u8) -> String {
    format!("02:00:00:00:01:{number:02x}")
}

/// The namespaces of a lab, without its VMs.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// Where clients are.
    pub client: Namespace,
    /// Where the agent is.
    pub node: Namespace,
    /// The switch between the node and what is behind it.
    pub switch: Option<Namespace>,
}

/// One end of a cable.
type End<'a> = (&'a Namespace, &'a str);

impl Wiring {
    /// Creates the namespaces and connects client and node.
    ///
    /// # Errors
    /// Without the privilege, or when a name is taken.
    pub fn create(topology: Topology, prefix: &str) -> Result<Self> {
        let namespace = |role: &str| Namespace::create(format!("{prefix}{role}"));
        let wiring = Self {
            client: namespace("client")?,
            node: namespace("node")?,
            switch: if topology == Topology::Bridge { None } else { Some(namespace("switch")?) },
        };
        match topology {
            Topology::Bridge => wiring.bridge()?,
            Topology::Stick => wiring.stick()?,
            Topology::Router => wiring.router()?,
        }
        let node = format!("{}/24", topology.node());
        let vm_side = match topology {
            Topology::Bridge => "br0",
            Topology::Stick => "eth0",
            Topology::Router => "in0",
        };
        wiring.node.ip(&["address", "add", &node, "dev", vm_side])?;
        wiring.client.ip(&["address", "add", &format!("{}/24", topology.client()), "dev", "eth0"])?;
        if topology == Topology::Router {
            wiring.node.ip(&["address", "add", "198.51.100.1/24", "dev", "up0"])?;
            for network in ["192.0.2.0/24", "203.0.113.0/24"] {
                wiring.client.ip(&["route", "add", network, "via", "198.51.100.1"])?;
            }
        }
        ipv6::address(&wiring, topology, vm_side)?;
        Ok(wiring)
    }

    /// Creates the VM with this number.
    ///
    /// # Errors
    /// When there is one already.
    pub fn add_vm(&self, topology: Topology, prefix: &str, number: u8) -> Result<Namespace> {
        let name = format!("vm{number}");
        let vm = Namespace::create(format!("{prefix}{name}"))?;
        let host = self.switch.as_ref().unwrap_or(&self.node);
        cable((&vm, "eth0"), (host, &name))?;
        // A VM that changes its address keeps the new one when the old one goes.
        vm.sysctl("ipv4/conf/all/promote_secondaries", "1")?;
        vm.ip(&["link", "set", "eth0", "address", &vm_mac(number)])?;
        vm.ip(&["address", "add", &format!("{}/24", topology.vm(number)), "dev", "eth0"])?;
        ipv6::address_vm(&vm, topology, number)?;
        host.ip(&["link", "set", &name, "master", "br0"])?;
        if topology == Topology::Router {
            vm.ip(&["route", "add", "default", "via", &topology.node().to_string()])?;
        }
        Ok(vm)
    }

    /// The far ends of the node's interfaces that packet programs transmit through.
    pub fn peers(&self, topology: Topology) -> Vec<(Namespace, &'static str)> {
        let client = (self.client.clone(), "eth0");
        match (topology, &self.switch) {
            (Topology::Stick, Some(switch)) => vec![(switch.clone(), "node")],
            (Topology::Router, Some(switch)) => vec![client, (switch.clone(), "node")],
            _ => vec![client],
        }
    }

    fn bridge(&self) -> Result<()> {
        cable((&self.client, "eth0"), (&self.node, "up0"))?;
        bridge(&self.node)?;
        self.node.ip(&["link", "set", "up0", "master", "br0"])
    }

    fn stick(&self) -> Result<()> {
        let Some(switch) = &self.switch else { return Ok(()) };
        bridge(switch)?;
        cable((&self.client, "eth0"), (switch, "client"))?;
        cable((&self.node, "eth0"), (switch, "node"))?;
        switch.ip(&["link", "set", "client", "master", "br0"])?;
        switch.ip(&["link", "set", "node", "master", "br0"])
    }

    fn router(&self) -> Result<()> {
        let Some(switch) = &self.switch else { return Ok(()) };
        bridge(switch)?;
        cable((&self.client, "eth0"), (&self.node, "up0"))?;
        cable((&self.node, "in0"), (switch, "node"))?;
        switch.ip(&["link", "set", "node", "master", "br0"])?;
        self.node.sysctl("ipv4/ip_forward", "1")
    }
}

fn bridge(namespace: &Namespace) -> Result<()> {
    namespace.ip(&["link", "add", "br0", "type", "bridge"])?;
    namespace.ip(&["link", "set", "br0", "up"])
}

/// A veth pair, up at both ends. Native XDP on one end wants as many receive queues there as the other end
/// transmits through.
pub(crate) fn cable(one: End<'_>, other: End<'_>) -> Result<()> {
    let queues = ["numtxqueues", "2", "numrxqueues", "2"];
    let near = ["link", "add", one.1];
    let far = ["type", "veth", "peer", "name", other.1, "netns", other.0.name()];
    one.0.ip(&[&near[..], &queues, &far, &queues].concat())?;
    one.0.ip(&["link", "set", one.1, "up"])?;
    other.0.ip(&["link", "set", other.1, "up"])
}
