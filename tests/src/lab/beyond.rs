//! Networks beyond a lab's own, each behind a router and a narrow link: a client's, for which the lab's client is
//! the router, and a server's, for which its first VM is. Both families.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use super::facts::Fact;
use super::namespace::{self, Namespace};
use super::topology::{Topology, cable, vm_mac};
use super::{Lab, SHOP, Vm};

/// A network of two hosts: the router, and who is behind it.
struct Network {
    /// The namespace, and the router's interface.
    name: &'static str,
    /// The addresses' first bytes.
    prefix: &'static str,
    /// Of IPv6.
    prefix_v6: &'static str,
    /// How long packets to the host behind the router may be.
    mtu: &'static str,
}

/// The least that IPv6 allows.
const CLIENTS: Network =
    Network { name: "far", prefix: "198.18.1.", prefix_v6: "2001:db8:11::", mtu: "1280" };
/// What tunnels leave.
const SERVERS: Network =
    Network { name: "deep", prefix: "198.18.2.", prefix_v6: "2001:db8:12::", mtu: "1400" };

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 2, 2);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0, 0, 0, 0, 2);

/// The networks, to be removed by [`Beyond::remove`]. A failed test leaves them to the lab's end.
#[derive(Debug)]
pub struct Beyond {
    /// Where the client is.
    pub client: Namespace,
    /// Where the server is, labelled `app: deep`.
    pub server: Vm,
}

impl Beyond {
    /// Connects them, and tells the agent of the server.
    ///
    /// # Errors
    /// When there are such already, or no VM.
    pub fn create(lab: &Lab) -> Result<Self> {
        let router = lab.vms.first().context("a VM to be the server's router")?.namespace.clone();
        let client = CLIENTS.attach(lab, lab.client())?;
        let namespace = SERVERS.attach(lab, &router)?;
        let server = Vm {
            name: SERVERS.name.to_owned(),
            namespace,
            address: SERVER,
            address_v6: SERVER_V6,
            mac: vm_mac(0xfe),
        };
        for (host, network, gateway) in routes(lab) {
            host.ip(&["route", "add", &network, "via", &gateway])?;
        }
        let labels = [("app".to_owned(), server.name.clone())].into();
        lab.write_facts(
            &[lab.facts(), vec![Fact { labels, namespace: SHOP.to_owned(), ..server.fact() }]].concat(),
        )?;
        Ok(Self { client, server })
    }

    /// Disconnects and forgets them.
    ///
    /// # Errors
    /// When something is left.
    pub fn remove(self, lab: &Lab) -> Result<()> {
        lab.write_facts(&lab.facts())?;
        for (host, network, gateway) in routes(lab) {
            host.ip(&["route", "delete", &network, "via", &gateway])?;
        }
        // A namespace takes its time to go, and its end of a cable with it.
        lab.client().ip(&["link", "delete", CLIENTS.name])?;
        lab.vms.first().map_or(Ok(()), |vm| vm.namespace.ip(&["link", "delete", SERVERS.name]))?;
        for namespace in [&self.client, &self.server.namespace] {
            namespace::ip(&["netns", "delete", namespace.name()])?;
        }
        forward(lab.client(), false)?;
        lab.vms.first().map_or(Ok(()), |vm| forward(&vm.namespace, false))?;
        // What hosts have learned of narrow links is learned for addresses that others will have.
        let hosts = lab.vms.iter().map(|vm| &vm.namespace).chain([lab.client(), lab.node()]);
        hosts.into_iter().try_for_each(|host| {
            host.ip(&["-4", "route", "flush", "cache"])?;
            host.ip(&["-6", "route", "flush", "cache"])
        })
    }
}

impl Network {
    /// The host behind a router, which has a narrow route to it. Narrow one way, as an asymmetric path is: the
    /// host believes in what its interface says.
    fn attach(&self, lab: &Lab, router: &Namespace) -> Result<Namespace> {
        let host = Namespace::create(format!("{}{}", lab.id().prefix(), self.name))?;
        cable((&host, "eth0"), (router, self.name))?;
        // Usable at once: nobody else might have it.
        for (prefix, length, flags) in [(self.prefix, "24", &[][..]), (self.prefix_v6, "64", &["nodad"])] {
            let (near, far) = (format!("{prefix}1"), format!("{prefix}2"));
            for (who, address, interface) in [(router, &near, self.name), (&host, &far, "eth0")] {
                let address = format!("{address}/{length}");
                who.ip(&[&["address", "add", &address, "dev", interface], flags].concat())?;
            }
            host.ip(&["route", "add", "default", "via", &near])?;
            router.ip(&["route", "add", &far, "dev", self.name, "mtu", self.mtu])?;
        }
        forward(router, true)?;
        Ok(host)
    }

    fn networks(&self) -> [String; 2] {
        [format!("{}0/24", self.prefix), format!("{}/64", self.prefix_v6)]
    }
}

/// Makes a host a router, or a host again.
fn forward(host: &Namespace, on: bool) -> Result<()> {
    let value = if on { "1" } else { "0" };
    host.sysctl("ipv4/ip_forward", value)?;
    host.sysctl("ipv6/conf/all/forwarding", value)
}

/// The routes that others need to both networks: who, whereto, through whom.
fn routes(lab: &Lab) -> Vec<(&Namespace, String, String)> {
    let topology = lab.spec.topology;
    let client = [topology.client().to_string(), topology.client_v6().to_string()];
    let vm = [topology.vm(1).to_string(), topology.vm_v6(1).to_string()];
    let mut routes = Vec::new();
    let mut add = |host, network: &Network, gateways: &[String; 2]| {
        for (network, gateway) in network.networks().into_iter().zip(gateways) {
            routes.push((host, network, gateway.clone()));
        }
    };
    add(lab.node(), &CLIENTS, &client);
    add(lab.node(), &SERVERS, &vm);
    if topology != Topology::Router {
        for vm in &lab.vms {
            add(&vm.namespace, &CLIENTS, &client);
        }
    }
    routes
}
