//! What a load balancer's status says. Written anew it is the same, so only changes are stored.

use jiff::Timestamp;
use smol_str::ToSmolStr as _;

use super::backend_status::{BACKEND_READY, backends};
use super::desired::health_of;
use super::origin::{Address, Origin, address};
use super::select::Member;
use crate::health::model::{Snapshot, Target};
use crate::ipam::dhcp::model::State;
use crate::model::check::{CheckedLoadBalancer, ListenerCheck, Workload};
use crate::model::load_balancer::{BackendStatus, LoadBalancerStatus};
use crate::model::meta::{Condition, READY};

/// The status of a load balancer whose status was `old`. `now` becomes the time of what has changed.
pub fn status(
    old: &LoadBalancerStatus,
    lb: &CheckedLoadBalancer,
    origin: Origin<'_>,
    members: &[Member],
    health: &Snapshot,
    now: Timestamp,
) -> LoadBalancerStatus {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let Address { allocated: allocated_address, vip, refusal, lease } = address(old, lb.workload, origin);
    let known = health_of(lb, health);
    // Nobody has been found ready to serve at no address.
    let health = |target: &Target| known(target).filter(|_| !vip.is_empty());
    let backends = backends(&old.backends, lb, members, health, &now);
    let not_ready = match (refusal, lb.workload) {
        (Some(message), _) => Some(("AddressNotAssigned", message)),
        (None, Workload::Cluster) => None,
        (None, Workload::Vm) => unserved(lb, &backends),
    };
    LoadBalancerStatus {
        backend_servers: members
            .iter()
            .filter_map(Member::address)
            .map(|address| address.to_smolstr())
            .collect(),
        allocated_address,
        address: vip,
        conditions: conditions(&old.conditions, not_ready, &now),
        backends,
        lease,
    }
}

/// The status `old` of a load balancer whose lease has ended, with what that says of the address, and nothing else.
pub fn without_address(old: &LoadBalancerStatus, lease: &State, now: Timestamp) -> LoadBalancerStatus {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let told = address(old, Workload::Vm, Origin::Dhcp(Some(lease)));
    let not_ready = told.refusal.map(|message| ("AddressNotAssigned", message));
    LoadBalancerStatus {
        address: told.vip,
        conditions: conditions(&old.conditions, not_ready, &now),
        lease: told.lease,
        ..old.clone()
    }
}

/// Reason and message, if nobody serves. The messages are those that Harvester's users know; of a listener with a
/// check of its own, its name goes before.
fn unserved(lb: &CheckedLoadBalancer, backends: &[BackendStatus]) -> Option<(&'static str, String)> {
    const UNHEALTHY: &str = "running backend servers are not probed as healthy";
    let with_address = backends.iter().filter(|backend| !backend.address.is_empty()).count();
    if backends.is_empty() {
        return Some(("NoBackend", "no running backend servers".to_owned()));
    }
    if with_address == 0 {
        return Some(("NoBackendAddress", "running backend servers have no IP".to_owned()));
    }
    if backends.iter().all(|backend| backend.state != BACKEND_READY) {
        return Some(("NoHealthyBackend", format!("{UNHEALTHY} total:{with_address}, healthy:0")));
    }
    let is_ready = |backend: &BackendStatus, name: &str| {
        backend.listeners.iter().any(|listener| listener.name == name && listener.state == BACKEND_READY)
    };
    let own = lb.listeners.iter().filter(|listener| listener.health_check != ListenerCheck::Shared);
    let names = own.map(|listener| listener.name.as_str());
    let mut unserved = names.filter(|name| !backends.iter().any(|backend| is_ready(backend, name)));
    let name = unserved.next()?;
    Some(("NoHealthyBackend", format!("listener {name}: {UNHEALTHY} total:{with_address}, healthy:0")))
}

/// The old conditions with `Ready` brought up to date.
fn conditions(old: &[Condition], not_ready: Option<(&str, String)>, now: &str) -> Vec<Condition> {
    let status = if not_ready.is_none() { "True" } else { "False" };
    let (reason, message) = not_ready.unwrap_or_default();
    let mut conditions = old.to_vec();
    let fresh = Condition { kind: READY.to_owned(), ..Condition::default() };
    let index = conditions.iter().position(|condition| condition.kind == READY).unwrap_or_else(|| {
        conditions.push(fresh);
        conditions.len() - 1
    });
    if let Some(ready) = conditions.get_mut(index) {
        if ready.status != status {
            now.clone_into(&mut ready.last_transition_time);
        }
        if (ready.status.as_str(), ready.reason.as_str(), &ready.message) != (status, reason, &message) {
            now.clone_into(&mut ready.last_update_time);
        }
        status.clone_into(&mut ready.status);
        reason.clone_into(&mut ready.reason);
        ready.message = message;
    }
    conditions
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use smol_str::SmolStr;

    use super::*;
    use crate::control::backend_status::were_ready;
    use crate::control::select::tests::{checked_lb, members_of, raw_lb, vm};
    use crate::health::failure::ProbeFailed;
    use crate::health::model::{Backend, Health, Reason};
    use crate::model::load_balancer::AllocatedAddress;
    use crate::model::vm::VirtualMachine;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn address() -> AllocatedAddress {
        AllocatedAddress { ip_pool: "lab".into(), ip: "203.0.113.10".into(), ..AllocatedAddress::default() }
    }

    fn web(name: &str, address: &str) -> VirtualMachine {
        vm("shop", name, &[("app", "web")], address)
    }

    fn health(host: u8, health: Health) -> Snapshot {
        [(Backend::new(raw_lb().metadata.key(), [192, 0, 2, host].into()), health)].into()
    }

    const READY_NOW: Health = Health { ready: true, reason: Reason::Succeeded };
    const REFUSED: Health = Health { ready: false, reason: Reason::Failed(ProbeFailed::Refused) };

    fn status_of(
        old: &LoadBalancerStatus,
        list: &[VirtualMachine],
        health: &Snapshot,
        second: i64,
    ) -> LoadBalancerStatus {
        let lb = checked_lb();
        let given = address();
        let origin = Origin::Pool(Ok(&given));
        status(old, &lb.check().unwrap(), origin, &members_of(&lb, list), health, at(second))
    }

    #[test]
    fn ready_says_why_nobody_serves() {
        let none = LoadBalancerStatus::default();
        let cases: [(&[VirtualMachine], &Snapshot, &str, &str); 5] = [
            (&[], &Snapshot::new(), "False", "no running backend servers"),
            (&[web("a", "")], &Snapshot::new(), "False", "running backend servers have no IP"),
            (
                &[web("a", "192.0.2.11"), web("b", "192.0.2.12"), web("c", "")],
                &health(11, REFUSED),
                "False",
                "running backend servers are not probed as healthy total:2, healthy:0",
            ),
            (
                &[web("a", "192.0.2.11")],
                &Snapshot::new(),
                "False",
                "running backend servers are not probed as healthy total:1, healthy:0",
            ),
            (&[web("a", "192.0.2.11"), web("b", "")], &health(11, READY_NOW), "True", ""),
        ];
        for (list, health, expected, message) in cases {
            let status = status_of(&none, list, health, 0);
            let ready = &status.conditions[0];
            assert_eq!((ready.status.as_str(), ready.message.as_str()), (expected, message));
        }
    }

    #[test]
    fn backends_are_shown_with_state_and_reason() {
        let list = [web("a", "192.0.2.11"), web("b", "192.0.2.12"), web("c", "")];
        let mut probed = health(11, READY_NOW);
        probed.extend(health(12, REFUSED).iter().map(|(backend, health)| (backend, health.clone())));
        let status = status_of(&LoadBalancerStatus::default(), &list, &probed, 1_700_000_000);
        assert_eq!(status.address, "203.0.113.10");
        assert_eq!(*status.backend_servers, ["192.0.2.11", "192.0.2.12"]);
        let shown: Vec<String> = status
            .backends
            .iter()
            .map(|b| format!("{} {} {} {}", b.vm, b.address, b.state, b.reason))
            .collect();
        assert_eq!(
            shown,
            [
                "a 192.0.2.11 Ready ProbeSucceeded",
                "b 192.0.2.12 NotReady ConnectionRefused",
                "c  NotReady NoAddress"
            ]
        );
        assert!(status.backends.iter().all(|b| b.last_transition_time == "2023-11-14T22:13:20Z"));
        assert_eq!(were_ready(&status), BTreeSet::from([IpAddr::from([192, 0, 2, 11]).into()]));
    }

    #[test]
    fn times_change_only_with_what_they_time() {
        let list = [web("a", "192.0.2.11")];
        let first = status_of(&LoadBalancerStatus::default(), &list, &health(11, READY_NOW), 0);
        assert_eq!(status_of(&first, &list, &health(11, READY_NOW), 60), first);
        let failed = status_of(&first, &list, &health(11, REFUSED), 120);
        assert_eq!(failed.backends[0].last_transition_time, "1970-01-01T00:02:00Z");
        assert_eq!(failed.conditions[0].last_transition_time, "1970-01-01T00:02:00Z");
        let none = status_of(&failed, &[], &Snapshot::new(), 180);
        assert_eq!(none.conditions[0].last_transition_time, "1970-01-01T00:02:00Z");
        assert_eq!(none.conditions[0].last_update_time, "1970-01-01T00:03:00Z");
    }

    #[test]
    fn nobody_is_ready_at_no_address() {
        let (lb, list) = (raw_lb(), [web("a", "192.0.2.11")]);
        let none = Origin::Pool(Err("no address is assigned yet"));
        let old = LoadBalancerStatus::default();
        let new = status(&old, &lb.check().unwrap(), none, &members_of(&lb, &list), &Snapshot::new(), at(0));
        assert_eq!((&*new.backends[0].state, &*new.backends[0].reason), ("NotReady", "NotProbed"));
        assert!(were_ready(&new).is_empty(), "a check that comes with the address finds out");
    }

    #[test]
    fn a_refused_address_keeps_the_old_one_and_says_so() {
        let lb = raw_lb();
        let list = [web("a", "192.0.2.11")];
        let old = status_of(&LoadBalancerStatus::default(), &list, &health(11, READY_NOW), 0);
        let refused = Origin::Pool(Err("pool small has no free address"));
        let members = members_of(&lb, &list);
        let new = status(&old, &lb.check().unwrap(), refused, &members, &health(11, READY_NOW), at(60));
        assert_eq!((new.address.as_str(), new.allocated_address), ("203.0.113.10", Some(address())));
        assert_eq!(new.conditions[0].status, "False");
        assert_eq!(new.conditions[0].message, "pool small has no free address");
    }

    #[test]
    fn a_guest_cluster_is_ready_with_its_address_and_tells_what_it_announces() {
        let mut lb = raw_lb();
        lb.spec.workload_type = "cluster".into();
        let old = LoadBalancerStatus { address: "203.0.113.99".into(), ..LoadBalancerStatus::default() };
        let given = address();
        let new = status(&old, &lb.check().unwrap(), Origin::Pool(Ok(&given)), &[], &Snapshot::new(), at(0));
        assert_eq!((new.address.as_str(), new.conditions[0].status.as_str()), ("203.0.113.99", "True"));
    }

    /// Listeners web and dns with checks of their own, and one without.
    fn lb_with_own_checks() -> crate::model::load_balancer::LoadBalancer {
        use crate::model::health_check::HealthCheck;
        use crate::model::load_balancer::Listener;
        let mut lb = raw_lb();
        lb.spec.listeners[0].health_check = Some(HealthCheck::default());
        lb.spec.listeners.push(Listener {
            name: "dns".into(),
            port: 53,
            protocol: "UDP".into(),
            backend_port: 5353,
            health_check: Some(HealthCheck::default()),
            ..Listener::default()
        });
        lb
    }

    #[test]
    fn listeners_with_checks_of_their_own_are_shown_one_by_one() {
        let lb = lb_with_own_checks();
        let list = [web("a", "192.0.2.11"), web("b", "192.0.2.12")];
        let own = |host: u8, listener: &str, health: Health| {
            let target = Target { address: [192, 0, 2, host].into(), listener: Some(listener.into()) };
            (Backend { lb: lb.metadata.key(), target }, health)
        };
        let silent = Health { ready: false, reason: Reason::Failed(ProbeFailed::PortUnreachable) };
        let health: Snapshot = [
            own(11, "web", READY_NOW),
            own(11, "dns", silent.clone()),
            own(12, "web", REFUSED),
            own(12, "dns", silent),
        ]
        .into();
        let (old, members) = (LoadBalancerStatus::default(), members_of(&lb, &list));
        let given = address();
        let status = status(&old, &lb.check().unwrap(), Origin::Pool(Ok(&given)), &members, &health, at(0));
        let shown = |backend: &BackendStatus| {
            let own = backend.listeners.iter().map(|l| format!("{} {} {}", l.name, l.state, l.message));
            (backend.state.clone(), backend.message.clone(), own.collect::<Vec<_>>())
        };
        let text = SmolStr::new;
        assert_eq!(
            status.backends.iter().map(shown).collect::<Vec<_>>(),
            [
                (
                    text("Ready"),
                    text("listener dns: port unreachable"),
                    vec!["web Ready ".to_owned(), "dns NotReady port unreachable".to_owned()]
                ),
                (
                    text("NotReady"),
                    text("listener web: connection refused"),
                    vec![
                        "web NotReady connection refused".to_owned(),
                        "dns NotReady port unreachable".to_owned()
                    ]
                ),
            ]
        );
        let ready = &status.conditions[0];
        let message = "listener dns: running backend servers are not probed as healthy total:2, healthy:0";
        assert_eq!((ready.status.as_str(), ready.message.as_str()), ("False", message));
        let web_of_a = Target { address: [192, 0, 2, 11].into(), listener: Some("web".into()) };
        assert!(were_ready(&status).contains(&web_of_a));
        assert_eq!(were_ready(&status).iter().filter(|target| target.listener.is_some()).count(), 1);
    }
}
