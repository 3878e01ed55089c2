//! Which of a VM's addresses is balanced to: as written → checked (decision D19).

use std::net::IpAddr;

use crate::model::field::Problems;
use crate::model::load_balancer::LoadBalancerSpec;
use crate::model::range::Subnet;

/// Longer than any interface's name.
const MAX_NAME: usize = 63;

/// What an address of a VM must be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct AddressChoice {
    /// Of the interface of this name; `None` is any.
    pub interface: Option<String>,
    /// In this subnet; `None` is any.
    pub subnet: Option<Subnet>,
}

impl AddressChoice {
    /// Nothing is asked of it.
    pub const fn is_any(&self) -> bool {
        self.interface.is_none() && self.subnet.is_none()
    }

    /// Whether an address of an interface is as asked for.
    pub fn takes(&self, interface: &str, address: IpAddr) -> bool {
        self.interface.as_ref().is_none_or(|name| name == interface)
            && self.subnet.is_none_or(|subnet| subnet.contains(address))
    }
}

pub(super) fn check(spec: &LoadBalancerSpec, problems: &mut Problems) -> AddressChoice {
    let Some(raw) = &spec.backend_address else { return AddressChoice::default() };
    let interface = Some(raw.interface.clone()).filter(|name| !name.is_empty());
    if interface.as_ref().is_some_and(|name| name.len() > MAX_NAME) {
        let remedy = format!("use {MAX_NAME} bytes at most");
        problems.add("spec.backendAddress.interface", &raw.interface, "too long for a name", remedy);
    }
    let subnet = Subnet::parse(&raw.subnet);
    if subnet.is_none() && !raw.subnet.is_empty() {
        let remedy = "use CIDR notation such as 192.0.2.0/24";
        problems.add("spec.backendAddress.subnet", &raw.subnet, "not a subnet", remedy);
    }
    AddressChoice { interface, subnet }
}
