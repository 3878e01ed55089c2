//! LoadBalancer: as written → checked (reference section 2.1 with decisions D2, D5 to D8, D11).

use std::net::IpAddr;
use std::sync::Arc;

use super::backend_address::{self, AddressChoice};
use super::balancing::{self, Balancing};
use super::health_check::{self, CheckedHealthCheck};
use super::listener::{self, CheckedListener, default_name, parse_protocol, protocol_name};
use super::policy::{self, CheckedPolicy};
use super::selector::Selector;
use super::sharing;
use super::words::{self, ForwardingMode, IPAMS, Ipam, MODES, UNSERVED, Unserved, WORKLOADS, Workload};
use crate::model::field::{FieldError, Problems};
use crate::model::load_balancer::{KIND, LoadBalancer};
use crate::model::meta::{API_VERSION, GROUP, NamespacedName};
use crate::model::names;
use crate::model::range::unfit;
use crate::model::requirement::Requirement;

/// The annotation by which Harvester's cloud provider names the network of a guest cluster.
const MANAGEMENT_NETWORK: &str = "cloudprovider.harvesterhci.io/managementNetwork";

/// A load balancer that can be trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedLoadBalancer {
    /// Its identity.
    pub key: NamespacedName,
    /// Who serves it.
    pub workload: Workload,
    /// Where its address comes from.
    pub ipam: Ipam,
    /// The pool that it names; `None` selects one automatically.
    pub pool: Option<String>,
    /// The address that it wants.
    pub address: Option<IpAddr>,
    /// The load balancer whose address it has, in place of one of its own.
    pub shares: Option<NamespacedName>,
    /// What it requires of a pool.
    pub requirement: Requirement,
    /// At least one for VMs, none for a guest cluster.
    pub listeners: Vec<CheckedListener>,
    /// Which VMs serve it.
    pub selector: Selector,
    /// At which of their addresses.
    pub backend_address: AddressChoice,
    /// How they are probed; `None` is not at all.
    pub health_check: Option<Arc<CheckedHealthCheck>>,
    /// How packets reach them.
    pub mode: ForwardingMode,
    /// What unserved clients get.
    pub unserved: Unserved,
    /// How new flows are spread and how long they stay.
    pub balancing: Balancing,
    /// What clients are granted.
    pub policy: CheckedPolicy,
}

impl LoadBalancer {
    /// Checks everything that the object says on its own. Whether a named pool exists is the allocator's
    /// answer, see [`crate::ipam`].
    ///
    /// # Errors
    /// All problems, in the order of the fields.
    pub fn check(&self) -> Result<CheckedLoadBalancer, Vec<FieldError>> {
        let mut problems = Problems::default();
        let (meta, spec) = (&self.metadata, &self.spec);
        check_identity(self, &mut problems);
        let workload = words::check(WORKLOADS, "spec.workloadType", &spec.workload_type, &mut problems);
        let ipam = words::check(IPAMS, "spec.ipam", &spec.ipam, &mut problems);
        if !spec.ip_pool.is_empty()
            && let Err(rule) = names::subdomain(&spec.ip_pool)
        {
            problems.add("spec.ipPool", &spec.ip_pool, "not a pool's name", rule.to_string());
        }
        let address = check_address(&spec.address, ipam, &mut problems);
        // A guest cluster balances on its own: its listeners are neither required nor looked at.
        let (listeners, selector, health_check) = match workload {
            Workload::Cluster => (Vec::new(), Selector::default(), None),
            Workload::Vm => {
                let listeners = listener::check(&spec.listeners, &mut problems);
                let selector = Selector::check(&spec.backend_server_selector, &mut problems);
                let health = health_check::check(spec.health_check.as_ref(), &spec.listeners, &mut problems);
                (listeners, selector, health)
            }
        };
        let backend_address = backend_address::check(spec, &mut problems);
        let mode = spec.forwarding.as_ref().map_or("", |forwarding| &forwarding.mode);
        let mode = words::check(MODES, "spec.forwarding.mode", mode, &mut problems);
        let unserved = words::check(UNSERVED, "spec.unserved", &spec.unserved, &mut problems);
        let balancing = balancing::check(spec, &mut problems);
        let policy = policy::check(spec, &mut problems);
        let shares = sharing::check(self, workload, ipam, &mut problems);
        problems.result(CheckedLoadBalancer {
            key: meta.key(),
            workload,
            ipam,
            pool: Some(spec.ip_pool.clone()).filter(|pool| !pool.is_empty()),
            address,
            shares,
            requirement: Requirement::of(meta),
            listeners,
            selector,
            backend_address,
            health_check,
            mode,
            unserved,
            balancing,
            policy,
        })
    }

    /// Checks what an update of `old` to `self` must not change (rules V9 and V10). Nothing is refused on the
    /// way to deletion.
    ///
    /// # Errors
    /// All problems.
    pub fn check_update(&self, old: &Self) -> Result<(), Vec<FieldError>> {
        let mut problems = Problems::default();
        if self.metadata.is_terminating() {
            return Ok(());
        }
        let remedy = "delete the load balancer and create it anew";
        let (new, old) = (&self.spec, &old.spec);
        if (new.ipam == "dhcp") != (old.ipam == "dhcp") {
            problems.add("spec.ipam", &new.ipam, "can't change between pool and dhcp", remedy);
        }
        if (new.workload_type == "cluster") != (old.workload_type == "cluster") {
            let problem = "can't change between vm and cluster";
            problems.add("spec.workloadType", &new.workload_type, problem, remedy);
        }
        problems.result(())
    }

    /// With defaults written out, as it is to be stored: names of listeners, protocols in upper case, the
    /// numbers of an active health check, the annotation of the namespace, and for a guest cluster that of the
    /// network: its management network, if it names no other. What is wrong stays as it is.
    pub fn with_defaults(mut self) -> Self {
        for listener in &mut self.spec.listeners {
            let Some(protocol) = parse_protocol(&listener.protocol) else { continue };
            protocol_name(protocol).clone_into(&mut listener.protocol);
            if listener.name.is_empty() {
                listener.name = default_name(protocol, listener.port, listener.end_port);
            }
            listener.health_check = listener.health_check.take().map(|check| check.with_defaults(true));
        }
        let namespace = self.metadata.namespace.clone();
        let annotations = &mut self.metadata.annotations;
        annotations.insert(format!("{GROUP}/namespace"), namespace);
        let network = format!("{GROUP}/network");
        if self.spec.workload_type == "cluster"
            && annotations.get(&network).is_none_or(String::is_empty)
            && let Some(management) = annotations.get(MANAGEMENT_NETWORK).cloned()
        {
            annotations.insert(network, management);
        }
        self.spec.health_check = self.spec.health_check.map(|check| check.with_defaults(false));
        self
    }
}

fn check_identity(lb: &LoadBalancer, problems: &mut Problems) {
    if lb.api_version != API_VERSION {
        problems.add("apiVersion", &lb.api_version, "unknown version", format!("use {API_VERSION}"));
    }
    if lb.kind != KIND {
        problems.add("kind", &lb.kind, "unknown kind", format!("use {KIND}"));
    }
    if let Err(rule) = names::service(&lb.metadata.name) {
        problems.add("metadata.name", &lb.metadata.name, "not a load balancer's name", rule.to_string());
    }
    if let Err(rule) = names::label(&lb.metadata.namespace) {
        problems.add("metadata.namespace", &lb.metadata.namespace, "not a namespace", rule.to_string());
    }
}

fn check_address(text: &str, ipam: Ipam, problems: &mut Problems) -> Option<IpAddr> {
    if text.is_empty() {
        return None;
    }
    let problem = match text.parse::<IpAddr>() {
        Ok(_) if ipam == Ipam::Dhcp => "can't be requested from a DHCP server",
        Ok(address) => match unfit(address) {
            None => return Some(address),
            Some(problem) => problem,
        },
        Err(_) => "not an IP address",
    };
    problems.add("spec.address", text, problem, "use an address of the pool, or leave it out");
    None
}

#[cfg(test)]
mod tests;
