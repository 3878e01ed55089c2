//! A client, a node and servers in a row, each in a network namespace of its own.
//!
//! ```text
//! client eth0 ── up0 node in0 ── eth0 servers
//! ```
//!
//! The servers are addresses of one host: behind so many, a masquerading node has ports for all flows but those of the
//! last path.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use crate::lab::agent::Installation;
use crate::lab::namespace::{Namespace, output};
use crate::lab::registry::LabId;
use crate::lab::topology::{Hook, Topology, cable};

/// What clients dial where packets are balanced.
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// What clients dial where they are not, and what balancers choose among.
pub(super) const SERVERS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(192, 0, 2, 11),
    Ipv4Addr::new(192, 0, 2, 12),
    Ipv4Addr::new(192, 0, 2, 13),
    Ipv4Addr::new(192, 0, 2, 14),
];

/// The client's own address; more are routed to it.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);

/// A MAC address: `02:00:00:00:00:XX`.
pub(super) const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

pub(super) const CLIENT_MAC: [u8; 6] = mac(0x50);
pub(super) const UPLINK_MAC: [u8; 6] = mac(1);
pub(super) const INNER_MAC: [u8; 6] = mac(2);
pub(super) const SERVER_MAC: [u8; 6] = mac(0x11);

/// One of them. Removed on drop.
pub(super) struct Road {
    pub(super) id: LabId,
    pub(super) client: Namespace,
    pub(super) node: Namespace,
    pub(super) servers: Namespace,
}

impl Road {
    pub(super) fn build() -> Result<Self> {
        let id = LabId::claim()?;
        Self::lay(id.clone()).inspect_err(|_| drop(id.remove()))
    }

    fn lay(id: LabId) -> Result<Self> {
        let namespace = |role: &str| Namespace::create(format!("{}{role}", id.prefix()));
        let (client, node, servers) = (namespace("client")?, namespace("node")?, namespace("servers")?);
        cable((&client, "eth0"), (&node, "up0"))?;
        cable((&node, "in0"), (&servers, "eth0"))?;
        for (namespace, interface, mac) in [
            (&client, "eth0", CLIENT_MAC),
            (&node, "up0", UPLINK_MAC),
            (&node, "in0", INNER_MAC),
            (&servers, "eth0", SERVER_MAC),
        ] {
            namespace.ip(&["link", "set", interface, "address", &written(mac)])?;
            // As physical cards have it. Without it, a veth takes no frame that was redirected to its peer.
            output(namespace.command("ethtool").args(["-K", interface, "gro", "on"]))?;
        }
        client.ip(&["address", "add", &format!("{CLIENT}/24"), "dev", "eth0"])?;
        node.ip(&["address", "add", "198.51.100.1/24", "dev", "up0"])?;
        node.ip(&["address", "add", "192.0.2.1/24", "dev", "in0"])?;
        for server in SERVERS {
            servers.ip(&["address", "add", &format!("{server}/24"), "dev", "eth0"])?;
        }
        client.ip(&["route", "add", "default", "via", "198.51.100.1"])?;
        servers.ip(&["route", "add", "default", "via", "192.0.2.1"])?;
        node.ip(&["route", "add", "198.18.0.0/15", "via", &CLIENT.to_string()])?;
        node.sysctl("ipv4/ip_forward", "1")?;
        // More connections within a minute than there are ports by default.
        client.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        for host in [&client, &node, &servers] {
            // Whatever the machine does: others pace by timers, which are not what is measured. All kernels have this one.
            host.sysctl("ipv4/tcp_congestion_control", "reno")?;
        }
        let road = Self { id, client, node, servers };
        road.set_offloads(false)?;
        Ok(road)
    }

    /// Whether client and servers leave checksums and segmentation to their cards. What is redirected unseen has to
    /// be whole.
    pub(super) fn set_offloads(&self, on: bool) -> Result<()> {
        let value = if on { "on" } else { "off" };
        for host in [&self.client, &self.servers] {
            let mut command = host.command("ethtool");
            command.args(["-K", "eth0", "tx", value, "tso", value, "gso", value]);
            output(&mut command)?;
        }
        Ok(())
    }

    /// The agent's files, for programs at this hook and a flow table of this size. The guard against floods of new
    /// flows works, and lets all of them pass.
    pub(super) fn install(&self, hook: Hook, entries: u32) -> Result<Installation> {
        let installation = Installation::create(&self.id, &self.node, Topology::Router, hook)?;
        let usual = installation.configuration(Topology::Router, hook);
        let datapath = format!("datapath:\n  flowEntries: {entries}\n  newFlowsPerSecond: 10000000\n");
        installation.configure(&(usual + &datapath))?;
        Ok(installation)
    }

    /// The index of an interface of the node.
    pub(super) fn interface(&self, name: &str) -> Result<u32> {
        self.node.enter(|| nix::net::if_::if_nametoindex(name))?.with_context(|| format!("look up {name}"))
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        if let Err(error) = self.id.remove() {
            eprintln!("{}: {error:#}; `cargo xtask lab down` tries again", self.id);
        }
    }
}

/// As configuration files and `ip` have it.
pub(super) fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
