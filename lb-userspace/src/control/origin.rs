//! Where a load balancer's address comes from, and what its status says of it.

use jiff::Timestamp;

use super::admission::{ANY, WAITING};
use crate::ipam::dhcp::model::{Lease, State};
use crate::model::check::Workload;
use crate::model::load_balancer::{AllocatedAddress, LeaseStatus, LoadBalancerStatus};

/// Where a load balancer's address comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// What the pools gave, or the message why there is none: the address that the load balancer has is kept then.
    Pool(Result<&'a AllocatedAddress, &'a str>),
    /// How it goes with its lease, once that is known.
    Dhcp(Option<&'a State>),
}

/// What a status tells of the address.
pub(super) struct Address {
    /// As Harvester knows it.
    pub(super) allocated: Option<AllocatedAddress>,
    /// What clients dial.
    pub(super) vip: String,
    /// Why there is none.
    pub(super) refusal: Option<String>,
    /// Who lent it.
    pub(super) lease: Option<LeaseStatus>,
}

/// The address, where the status was `old`.
pub(super) fn address(old: &LoadBalancerStatus, workload: Workload, origin: Origin<'_>) -> Address {
    match origin {
        Origin::Pool(given) => {
            let allocated = given.ok().or(old.allocated_address.as_ref()).cloned();
            // What a guest cluster announces is its own to tell.
            let vip = match (&allocated, workload) {
                (Some(address), Workload::Vm) => address.ip.clone(),
                _ => old.address.clone(),
            };
            Address { allocated, vip, refusal: given.err().map(ToOwned::to_owned), lease: None }
        }
        Origin::Dhcp(state) => {
            let held = state.and_then(State::address);
            let problem = state.and_then(|state| state.problem.as_deref()).unwrap_or_default();
            let separator = if problem.is_empty() { "" } else { ": " };
            Address {
                allocated: Some(AllocatedAddress { ip: ANY.to_owned(), ..AllocatedAddress::default() }),
                vip: held.map(|address| address.to_string()).unwrap_or_default(),
                refusal: held.is_none().then(|| format!("{WAITING}{separator}{problem}")),
                lease: Some(lease(state.and_then(|state| state.lease.as_ref()), problem)),
            }
        }
    }
}

fn lease(lease: Option<&Lease>, problem: &str) -> LeaseStatus {
    let message = problem.to_owned();
    let Some(lease) = lease else { return LeaseStatus { message, ..LeaseStatus::default() } };
    let end = lease.expires_at.and_then(|end| Timestamp::from_millisecond(end).ok());
    LeaseStatus {
        server: lease.server.to_string(),
        interface: lease.interface.clone(),
        vlan: lease.vlan.into(),
        expiration_time: end.map(|end| end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::dhcp::machine::Phase;

    fn state(is_held: bool, problem: &str) -> State {
        let lease = Lease {
            address: [192, 0, 2, 100].into(),
            server: [192, 0, 2, 1].into(),
            server_mac: [2, 0, 0, 0, 0, 1],
            mask: None,
            router: None,
            interface: "br0".to_owned(),
            vlan: 7,
            length: Some(60_000),
            renew_at: Some(1_700_000_030_000),
            rebind_at: Some(1_700_000_052_500),
            expires_at: Some(1_700_000_060_000),
        };
        let problem = Some(problem.to_owned()).filter(|problem| !problem.is_empty());
        State { phase: Phase::Bound, is_held, lease: Some(lease), problem }
    }

    fn told(state: Option<&State>) -> Address {
        let old = LoadBalancerStatus { address: "192.0.2.99".to_owned(), ..LoadBalancerStatus::default() };
        address(&old, Workload::Vm, Origin::Dhcp(state))
    }

    #[test]
    fn an_address_by_dhcp_is_told_with_its_server_and_its_end() {
        let held = told(Some(&state(true, "")));
        assert_eq!((held.vip.as_str(), held.refusal), ("192.0.2.100", None));
        assert_eq!(held.allocated.unwrap().ip, "0.0.0.0");
        let expected = LeaseStatus {
            server: "192.0.2.1".to_owned(),
            interface: "br0".to_owned(),
            vlan: 7,
            expiration_time: "2023-11-14T22:14:20Z".to_owned(),
            message: String::new(),
        };
        assert_eq!(held.lease, Some(expected));
    }

    #[test]
    fn without_an_address_it_is_told_why() {
        let lost = told(Some(&state(false, "no DHCP server answers")));
        let refusal = "service is waiting for external IP: no DHCP server answers";
        assert_eq!((lost.vip.as_str(), lost.refusal.as_deref()), ("", Some(refusal)));
        let new = told(None);
        assert_eq!(new.refusal.as_deref(), Some("service is waiting for external IP"));
        assert_eq!((new.vip.as_str(), new.lease), ("", Some(LeaseStatus::default())));
    }
}
