//! What has become of load balancers and pools, as Kubernetes' Events: addresses given, readiness gained and lost,
//! pools exhausted and changed.
//!
//! Input: objects before and after a transaction. Output: a bounded log, which ends with the agent.
//! Kubernetes calls them Events; those of packets are another thing (`observe`).

mod log;
mod pools;

pub use log::{EVENTS, Events};
pub use pools::pool_tidings;

use super::admission::ALLOCATED;
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
    let old = before.and_then(|object| object.status.allocated_address.as_ref());
    let new = after.status.allocated_address.as_ref();
    if old.map(|old| &old.ip) == new.map(|new| &new.ip) {
        return;
    }
    match (old, new) {
        (_, Some(new)) if new.ip_pool.is_empty() => {
            all.push(tiding(false, "AddressAssigned", format!("address {}", new.ip)));
        }
        (_, Some(new)) => {
            all.push(tiding(false, "AddressAssigned", format!("address {} of pool {}", new.ip, new.ip_pool)));
        }
        (Some(old), None) => all.push(tiding(false, "AddressReleased", format!("address {}", old.ip))),
        (None, None) => {}
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
        // One that is not allocated is not ready, too: it is told once.
        ("False", _, _) if kind == READY && new.reason == "AddressNotAssigned" => {}
        ("False", false, _) | ("False", true, false) => all.push(tiding(true, &new.reason, new.message)),
        (_, _, _) => {}
    }
}

fn backends(before: Option<&LoadBalancer>, after: &LoadBalancer, all: &mut Vec<Tiding>) {
    let known = before.map(|object| object.status.backends.as_slice()).unwrap_or_default();
    for new in &after.status.backends {
        let old = known.iter().find(|old| old.vm == new.vm).map(|old| old.state.as_str());
        let is_ready = new.state == BACKEND_READY;
        // One that is new is not ready as a matter of course, until it has been looked at.
        if old == Some(new.state.as_str()) || (old.is_none() && !is_ready) {
            continue;
        }
        let reason = if is_ready { "BackendReady" } else { "BackendNotReady" };
        all.push(tiding(!is_ready, reason, format!("VM {} at {}: {}", new.vm, new.address, new.reason)));
    }
    for gone in known.iter().filter(|old| after.status.backends.iter().all(|new| new.vm != old.vm)) {
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
    use crate::model::load_balancer::{AllocatedAddress, BackendStatus};

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
}
