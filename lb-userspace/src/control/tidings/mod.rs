//! What has become of load balancers and pools, as Kubernetes' Events: addresses given, readiness gained and lost,
//! pools exhausted and changed.
//!
//! Input: objects before and after a transaction. Output: a bounded log, which ends with the agent.
//! Kubernetes calls them Events; those of packets are another thing (`observe`).

mod log;
mod pools;

pub use log::{EVENTS, Events};
pub use pools::pool_tidings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::admission::{ALLOCATED, ANY, WAITING};
use super::backend_status::BACKEND_READY;
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::{Condition, READY};

/// One thing to tell of an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tiding {
    /// Whether somebody should look.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// What has changed for those who look after a load balancer.
pub fn tidings(before: Option<&LoadBalancer>, after: &LoadBalancer) -> Vec<Tiding> {
    let mut all = Vec::new();
    address(before, after, &mut all);
    for kind in [ALLOCATED, READY] {
        condition(kind, before, after, &mut all);
    }
    backends(before, after, &mut all);
    all
}

fn tiding(warning: bool, reason: &str, message: String) -> Tiding {
    Tiding { warning, reason: reason.to_owned(), message }
}

fn address(before: Option<&LoadBalancer>, after: &LoadBalancer, all: &mut Vec<Tiding>) {
    let (old, new) = (before.and_then(given), given(after));
    match (old, new) {
        (old, Some(new)) if old != Some(new) => {
            let message = format!("address {new}{}", giver(after));
            all.push(tiding(false, "AddressAssigned", message));
        }
        // One whose lease is over waits for the next: its readiness tells that, and why.
        (Some(old), None) if after.status.allocated_address.is_none() => {
            all.push(tiding(false, "AddressReleased", format!("address {old}")));
        }
        (_, _) => {}
    }
}

/// The address that an object has, whoever gave it.
fn given(object: &LoadBalancer) -> Option<&str> {
    let allocated = object.status.allocated_address.as_ref()?.ip.as_str();
    let address = if allocated == ANY { &object.status.address } else { allocated };
    Some(address).filter(|address| !address.is_empty())
}

/// From whom it has its address, as the end of a sentence.
fn giver(object: &LoadBalancer) -> String {
    match (&object.status.lease, &object.status.allocated_address) {
        (Some(lease), _) if !lease.server.is_empty() => {
            format!(", lent by {} on {}", lease.server, lease.interface)
        }
        (_, Some(allocated)) if !allocated.ip_pool.is_empty() => format!(" of pool {}", allocated.ip_pool),
        (_, _) => String::new(),
    }
}

fn condition(kind: &str, before: Option<&LoadBalancer>, after: &LoadBalancer, all: &mut Vec<Tiding>) {
    let of = |object: &LoadBalancer| -> Option<Condition> {
        object.status.conditions.iter().find(|condition| condition.kind == kind).cloned()
    };
    let Some(new) = of(after) else { return };
    let old = before.and_then(of).unwrap_or_default();
    match (new.status.as_str(), old.status == new.status, old.reason == new.reason) {
        ("True", false, _) if kind == READY => {
            all.push(tiding(false, "Ready", "a backend takes new flows".to_owned()));
        }
        ("False", _, _) if kind == READY && new.reason == "AddressNotAssigned" => {
            // One that a pool gives nothing is not ready, too: it is told once. Leases have no such condition, and that
            // one is waited for is no news.
            let is_told = after.status.conditions.iter().any(|condition| condition.kind == ALLOCATED);
            let is_lost = before.and_then(given).is_some() && given(after).is_none();
            let is_news = new.message != WAITING && new.message != old.message;
            if !is_told && (is_lost || is_news) {
                all.push(tiding(true, &new.reason, new.message));
            }
        }
        ("False", false, _) | ("False", true, false) => all.push(tiding(true, &new.reason, new.message)),
        (_, _, _) => {}
    }
}

fn backends(before: Option<&LoadBalancer>, after: &LoadBalancer, all: &mut Vec<Tiding>) {
    let is_same = |old: &LoadBalancer| Arc::ptr_eq(&old.status.backends, &after.status.backends);
    if before.is_some_and(is_same) {
        return;
    }
    let known = before.map(|object| &*object.status.backends).unwrap_or_default();
    let states: BTreeMap<&str, &str> =
        known.iter().map(|old| (old.vm.as_str(), old.state.as_str())).collect();
    for new in after.status.backends.iter() {
        let old = states.get(new.vm.as_str()).copied();
        let is_ready = new.state == BACKEND_READY;
        // One that is new is not ready as a matter of course, until it has been looked at.
        if old == Some(new.state.as_str()) || (old.is_none() && !is_ready) {
            continue;
        }
        let reason = if is_ready { "BackendReady" } else { "BackendNotReady" };
        all.push(tiding(!is_ready, reason, format!("VM {} at {}: {}", new.vm, new.address, new.reason)));
    }
    let stay: BTreeSet<&str> = after.status.backends.iter().map(|new| new.vm.as_str()).collect();
    for gone in known.iter().filter(|old| !stay.contains(old.vm.as_str())) {
        all.push(tiding(
            false,
            "BackendGone",
            format!("VM {} is stopped, gone or not selected any more", gone.vm),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::load_balancer::{AllocatedAddress, BackendStatus, LeaseStatus};

    fn with(ready: &str, reason: &str, backends: &[(&str, &str)]) -> LoadBalancer {
        let mut object = LoadBalancer::new("shop", "front");
        object.status.conditions = vec![Condition {
            kind: READY.into(),
            status: ready.into(),
            reason: reason.into(),
            ..Condition::default()
        }];
        let backend = |(vm, state): &(&str, &str)| BackendStatus {
            vm: (*vm).into(),
            state: (*state).into(),
            ..BackendStatus::default()
        };
        object.status.backends = backends.iter().map(backend).collect();
        object
    }

    fn reasons(before: Option<&LoadBalancer>, after: &LoadBalancer) -> Vec<(bool, String)> {
        tidings(before, after).into_iter().map(|tiding| (tiding.warning, tiding.reason)).collect()
    }

    fn pairs(pairs: &[(bool, &str)]) -> Vec<(bool, String)> {
        pairs.iter().map(|(warning, reason)| (*warning, (*reason).to_owned())).collect()
    }

    #[test]
    fn what_changes_is_told_once_and_what_stays_is_not() {
        let waiting = with("False", "NoBackend", &[("a", "NotReady")]);
        assert_eq!(reasons(None, &waiting), pairs(&[(true, "NoBackend")]));
        assert_eq!(reasons(Some(&waiting), &waiting), []);
        let ready = with("True", "", &[("a", "Ready")]);
        assert_eq!(reasons(Some(&waiting), &ready), pairs(&[(false, "Ready"), (false, "BackendReady")]));
        let failed = with("False", "NoHealthyBackend", &[("a", "NotReady")]);
        assert_eq!(
            reasons(Some(&ready), &failed),
            pairs(&[(true, "NoHealthyBackend"), (true, "BackendNotReady")])
        );
        let gone = with("False", "NoBackend", &[]);
        assert_eq!(reasons(Some(&failed), &gone), pairs(&[(true, "NoBackend"), (false, "BackendGone")]));
    }

    #[test]
    fn an_address_is_told_when_it_is_given_and_changed() {
        let before = LoadBalancer::new("shop", "front");
        let mut after = before.clone();
        let address = |ip: &str| AllocatedAddress {
            ip: ip.into(),
            ip_pool: "lab".into(),
            ..AllocatedAddress::default()
        };
        after.status.allocated_address = Some(address("192.0.2.80"));
        let told = tidings(Some(&before), &after);
        assert_eq!(told, [tiding(false, "AddressAssigned", "address 192.0.2.80 of pool lab".into())]);
        let mut moved = after.clone();
        moved.status.allocated_address = Some(address("192.0.2.81"));
        assert_eq!(reasons(Some(&after), &moved), pairs(&[(false, "AddressAssigned")]));
        assert_eq!(reasons(Some(&after), &after), []);
    }

    /// As a status tells of a lease; why there is no address, if that is known.
    fn by_dhcp(address: &str, problem: &str) -> LoadBalancer {
        let separator = if problem.is_empty() { "" } else { ": " };
        let mut object = with("True", "", &[]);
        object.status.allocated_address =
            Some(AllocatedAddress { ip: ANY.into(), ..AllocatedAddress::default() });
        object.status.address = address.into();
        let server = if address.is_empty() { "" } else { "192.0.2.1" };
        object.status.lease =
            Some(LeaseStatus { server: server.into(), interface: "br0".into(), ..LeaseStatus::default() });
        if address.is_empty() {
            let ready = &mut object.status.conditions[0];
            ready.status = "False".into();
            ready.reason = "AddressNotAssigned".into();
            ready.message = format!("{WAITING}{separator}{problem}");
        }
        object
    }

    #[test]
    fn an_address_by_dhcp_is_told_when_it_is_lent_changed_and_lost() {
        let told = |before: Option<&LoadBalancer>, after: &LoadBalancer| tidings(before, after);
        let waiting = by_dhcp("", "");
        assert_eq!(told(None, &waiting), [], "it is only a moment");
        let silent = by_dhcp("", "no DHCP server answers");
        let message = "service is waiting for external IP: no DHCP server answers".to_owned();
        let unassigned = tiding(true, "AddressNotAssigned", message);
        assert_eq!(told(Some(&waiting), &silent), std::slice::from_ref(&unassigned));
        assert_eq!(told(Some(&silent), &silent), []);
        let lent = by_dhcp("192.0.2.200", "");
        let assigned =
            |ip: &str| tiding(false, "AddressAssigned", format!("address {ip}, lent by 192.0.2.1 on br0"));
        let ready = tiding(false, "Ready", "a backend takes new flows".into());
        assert_eq!(told(Some(&silent), &lent), [assigned("192.0.2.200"), ready]);
        assert_eq!(told(Some(&lent), &by_dhcp("192.0.2.201", "")), [assigned("192.0.2.201")]);
        assert_eq!(told(Some(&lent), &silent), [unassigned]);
        let lost = tiding(true, "AddressNotAssigned", WAITING.into());
        assert_eq!(told(Some(&lent), &waiting), [lost], "for whatever reason");
    }
}
