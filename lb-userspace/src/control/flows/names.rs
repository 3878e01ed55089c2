//! Who is behind the addresses of a flow.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::control::report::{BackendsReport, LoadBalancerReport};
use crate::datapath::flows::model::Flow;
use crate::datapath::model::Protocol;
use crate::model::meta::NamespacedName;

/// Load balancers by VIP and VMs by server address.
#[derive(Clone, Default, Debug)]
pub(in crate::control) struct Names {
    listeners: BTreeMap<(IpAddr, u16, Protocol), NamespacedName>,
    /// Listeners of many ports, by the last of them: no two overlap. With the first.
    ranges: BTreeMap<(IpAddr, Protocol, u16), (u16, NamespacedName)>,
    /// By VIP alone, for flows of listeners that are gone.
    vips: BTreeMap<IpAddr, NamespacedName>,
    vms: BTreeMap<SocketAddr, String>,
    /// VMs by the server's address alone, for listeners that keep the port that was dialled.
    hosts: BTreeMap<IpAddr, String>,
}

impl Names {
    pub(in crate::control) fn new(report: &BackendsReport) -> Self {
        let mut names = Self::default();
        report.load_balancers.iter().for_each(|lb| names.add(lb));
        names
    }

    fn add(&mut self, lb: &LoadBalancerReport) {
        let key = NamespacedName::new(lb.namespace.as_str(), lb.name.as_str());
        let Ok(vip) = lb.address.parse::<IpAddr>() else { return };
        self.vips.insert(vip, key.clone());
        for listener in &lb.listeners {
            let protocol = if listener.protocol == "UDP" { Protocol::Udp } else { Protocol::Tcp };
            if let Some(last) = listener.end_port {
                self.ranges.insert((vip, protocol, last), (listener.port, key.clone()));
            } else {
                self.listeners.insert((vip, listener.port, protocol), key.clone());
            }
            for backend in &listener.backends {
                if let Ok(server) = backend.address.parse::<SocketAddr>() {
                    self.vms.insert(server, backend.vm.clone());
                    self.hosts.insert(server.ip(), backend.vm.clone());
                }
            }
        }
    }

    /// The load balancer whose VIP a flow dialled.
    pub(in crate::control) fn load_balancer(&self, flow: &Flow) -> Option<&NamespacedName> {
        let (vip, port) = (flow.vip.ip(), flow.vip.port());
        let exact = self.listeners.get(&(vip, port, flow.protocol));
        let range = || {
            let mut from = self.ranges.range((vip, flow.protocol, port)..=(vip, flow.protocol, u16::MAX));
            from.next().filter(|(_, (first, _))| *first <= port).map(|(_, (_, key))| key)
        };
        exact.or_else(range).or_else(|| self.vips.get(&vip))
    }

    /// The VM that answers a flow.
    pub(in crate::control) fn vm(&self, flow: &Flow) -> Option<&str> {
        let exact = self.vms.get(&flow.server);
        exact.or_else(|| self.hosts.get(&flow.server.ip())).map(String::as_str)
    }
}
