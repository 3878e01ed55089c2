//! Facts → what the datapath should do, and whom to probe.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::model::{Desired, DesiredBackend, DesiredListener, ForwardingMode};
use super::select::Member;
use crate::datapath::model::{ListenerAddress, Mac, Placement, VipPolicy};
use crate::health::model::{Health, Reason, Snapshot, Target, Wanted, WantedBackends};
use crate::model::check::{
    CheckedHealthCheck, CheckedListener, CheckedLoadBalancer, Ipam, ListenerCheck, Port, Unserved, Workload,
};

/// A load balancer that has its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
    /// What it is.
    pub lb: Arc<CheckedLoadBalancer>,
    /// Its address.
    pub vip: IpAddr,
    /// Who serves it.
    pub members: Vec<Member>,
}

/// How well a backend is that nobody probes.
static NOT_CHECKED: Health = Health { ready: true, reason: Reason::NotChecked };

/// What the datapath should do. A backend that is not known to be ready takes no new flows, but stays, so that
/// its flows can go on. `slots` is the size of every Maglev table; `place` tells how an address (with its MAC,
/// if the facts name it) is reached.
pub fn desired(
    served: &[Served],
    health: &Snapshot,
    slots: u32,
    place: impl Fn(ForwardingMode, IpAddr, Option<Mac>) -> Placement,
) -> Desired {
    let mut desired = Desired::default();
    // The VIP of a guest cluster is the cluster's to answer for.
    for service in served.iter().filter(|service| service.lb.workload == Workload::Vm) {
        let (lb, vip) = (&service.lb, service.vip);
        let drop_unserved = lb.unserved == Unserved::Drop;
        // What holds for a shared address is for the one to say that it was given to.
        if lb.shares.is_none() {
            desired.vips.insert(vip, VipPolicy { drop_unserved, leased: lb.ipam == Ipam::Dhcp });
            desired.policies.insert(vip, lb.policy.clone());
        }
        for listener in &lb.listeners {
            let address = listener_address(vip, listener);
            let backends = backends(service, listener, health, &place);
            let balancing = &lb.balancing;
            let entry = DesiredListener {
                drop_unserved,
                strict: listener.strict,
                slots,
                selection: balancing.selection,
                affinity: balancing.affinity,
                draining: balancing.draining,
                slow_start: balancing.slow_start,
                backends,
            };
            desired.listeners.insert(address, entry);
        }
    }
    desired
}

/// A listener as the datapath knows it.
pub fn listener_address(vip: IpAddr, listener: &CheckedListener) -> ListenerAddress {
    let last_port = listener.end_port.map(Port::get);
    ListenerAddress { vip, port: listener.port.get(), last_port, protocol: listener.protocol }
}

/// Whom to probe: the backends of load balancers that have any check. `were_ready` tells which of those that are new to
/// the prober were ready before.
pub fn probes<'a>(
    served: impl IntoIterator<Item = &'a Served>,
    were_ready: impl Fn(&CheckedLoadBalancer) -> BTreeSet<Target>,
) -> WantedBackends {
    let mut wanted = WantedBackends::new();
    for Served { lb, members, .. } in served.into_iter().filter(|served| is_checked(&served.lb)) {
        let ready = were_ready(lb);
        let wants = |(target, check)| {
            let was_ready = ready.contains(&target);
            (target, Wanted { check, was_ready })
        };
        let all: BTreeMap<_, _> =
            targets(lb, members.iter().filter_map(Member::address)).map(wants).collect();
        wanted.put(lb.key.clone(), all.into());
    }
    wanted
}

/// Whether any check looks at its backends. Where none does, all are ready.
pub(super) fn is_checked(lb: &CheckedLoadBalancer) -> bool {
    checks(lb).iter().any(|(_, check)| check.is_some())
}

/// What the checks of a load balancer look at on its servers.
pub(super) fn targets(
    lb: &CheckedLoadBalancer,
    servers: impl Iterator<Item = IpAddr> + Clone,
) -> impl Iterator<Item = (Target, Check)> {
    checks(lb).into_iter().flat_map(move |(listener, check)| {
        let target = move |address| (Target { address, listener: listener.clone() }, check.clone());
        servers.clone().map(target)
    })
}

/// How well the backends of a load balancer are, as far as it is known.
pub(super) fn health_of<'a>(
    lb: &CheckedLoadBalancer,
    health: &'a Snapshot,
) -> impl Fn(&Target) -> Option<&'a Health> + use<'a> {
    let (is_checked, known) = (is_checked(lb), health.of(&lb.key));
    move |target| if is_checked { known?.get(target) } else { Some(&NOT_CHECKED) }
}

type Check = Option<Arc<CheckedHealthCheck>>;

/// The checks of a load balancer: its own, if any listener goes by it, and those of listeners.
fn checks(lb: &CheckedLoadBalancer) -> Vec<(Option<Arc<str>>, Check)> {
    let mut checks = Vec::new();
    if lb.listeners.is_empty() || lb.listeners.iter().any(|l| l.health_check == ListenerCheck::Shared) {
        checks.push((None, lb.health_check.clone()));
    }
    for listener in &lb.listeners {
        if let ListenerCheck::Own(check) = &listener.health_check {
            checks.push((own(listener), check.clone()));
        }
    }
    checks
}

/// The listener as targets of its check name it; `None` if it goes by the load balancer's.
pub(super) fn own(listener: &CheckedListener) -> Option<Arc<str>> {
    let is_own = listener.health_check != ListenerCheck::Shared;
    is_own.then(|| listener.name.as_str().into())
}

fn backends(
    service: &Served,
    listener: &CheckedListener,
    health: &Snapshot,
    place: impl Fn(ForwardingMode, IpAddr, Option<Mac>) -> Placement,
) -> BTreeMap<SocketAddr, DesiredBackend> {
    let stations = service.members.iter().filter_map(|member| Some((member.weight, member.station?)));
    let health = health_of(&service.lb, health);
    let own = own(listener);
    let backends = stations.map(|(weight, station)| {
        let target = Target { address: station.address, listener: own.clone() };
        let admitted = health(&target).is_some_and(|health| health.ready);
        let placement = place(service.lb.mode, station.address, station.mac);
        let address = SocketAddr::new(station.address, listener.server_port());
        (address, DesiredBackend { weight, admitted, placement })
    });
    // A map that is made of a list takes its memory over.
    let mut all = Vec::with_capacity(service.members.len());
    all.extend(backends);
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::select::tests::{checked_lb, members_of, raw_lb, vm};
    use crate::datapath::model::Protocol;
    use crate::health::model::{Backend, Health, Reason};
    use crate::model::load_balancer::{Forwarding, HealthCheck, Listener, LoadBalancer};

    const VIP: [u8; 4] = [203, 0, 113, 10];
    const SLOTS: u32 = 251;

    fn served(lb: &LoadBalancer) -> Served {
        let web = [("app", "web")];
        let list = [
            vm("shop", "a", &web, "192.0.2.11"),
            vm("shop", "b", &web, "192.0.2.12"),
            vm("shop", "c", &web, ""),
            vm("bank", "d", &web, "192.0.2.14"),
        ];
        Served { lb: lb.check().unwrap().into(), vip: VIP.into(), members: members_of(lb, &list) }
    }

    /// By the last byte of the address.
    fn health(states: &[(u8, bool)]) -> Snapshot {
        let key = |host: u8| Backend::new(raw_lb().metadata.key(), [192, 0, 2, host].into());
        let health = |ready| Health { ready, reason: Reason::Succeeded };
        states.iter().map(|(host, ready)| (key(*host), health(*ready))).collect()
    }

    fn place(mode: ForwardingMode, address: IpAddr, _: Option<Mac>) -> Placement {
        let ifindex = if address == IpAddr::from([192, 0, 2, 11]) { 4 } else { 5 };
        Placement { ifindex, masquerade: mode == ForwardingMode::Masquerade, ..Placement::default() }
    }

    #[test]
    fn listeners_get_the_members_with_their_health_and_place() {
        let mut lb = checked_lb();
        lb.spec.listeners.push(Listener {
            name: "dns".into(),
            port: 53,
            protocol: "UDP".into(),
            backend_port: 5353,
            ..Listener::default()
        });
        lb.spec.forwarding = Some(Forwarding { mode: "Masquerade".into() });
        let desired = desired(&[served(&lb)], &health(&[(11, true), (12, false)]), SLOTS, place);
        assert_eq!(desired.vips, [(VIP.into(), VipPolicy::default())].into());
        let listener = &desired.listeners[&ListenerAddress::new(VIP.into(), 80, Protocol::Tcp)];
        let backend = |ifindex, admitted| DesiredBackend {
            weight: 1,
            admitted,
            placement: Placement { ifindex, masquerade: true, ..Placement::default() },
        };
        let expected = [
            ("192.0.2.11:8080".parse().unwrap(), backend(4, true)),
            ("192.0.2.12:8080".parse().unwrap(), backend(5, false)),
        ];
        assert_eq!((listener.slots, &listener.backends), (SLOTS, &expected.into()));
        let dns = &desired.listeners[&ListenerAddress::new(VIP.into(), 53, Protocol::Udp)];
        assert!(dns.backends.keys().all(|address| address.port() == 5353));
    }

    #[test]
    fn a_backend_that_the_prober_does_not_know_takes_no_flows() {
        let admitted = |lb: &LoadBalancer| {
            let desired = desired(&[served(lb)], &Snapshot::new(), SLOTS, place);
            let backends = desired.listeners.values().flat_map(|listener| listener.backends.values());
            backends.map(|backend| backend.admitted).collect::<Vec<_>>()
        };
        assert_eq!(admitted(&checked_lb()), [false, false]);
        assert_eq!(admitted(&raw_lb()), [true, true], "whom nobody probes is ready");
    }

    #[test]
    fn a_vip_without_members_is_answered_for_as_its_policy_says() {
        let mut lb = raw_lb();
        lb.spec.backend_server_selector.clear();
        lb.spec.unserved = "Drop".into();
        let desired = desired(&[served(&lb)], &Snapshot::new(), SLOTS, place);
        assert!(desired.vips[&IpAddr::from(VIP)].drop_unserved);
        assert!(
            desired.listeners.values().all(|listener| listener.drop_unserved && listener.backends.is_empty())
        );
    }

    #[test]
    fn the_vip_of_a_guest_cluster_is_left_to_it() {
        let mut lb = raw_lb();
        lb.spec.workload_type = "cluster".into();
        assert_eq!(desired(&[served(&lb)], &Snapshot::new(), SLOTS, place), Desired::default());
    }

    #[test]
    fn members_with_an_address_are_probed_as_the_load_balancer_says() {
        let lb = checked_lb();
        let wanted = probes(&[served(&lb)], |_| BTreeSet::from([IpAddr::from([192, 0, 2, 12]).into()]));
        let found: Vec<(String, bool)> = wanted
            .iter()
            .map(|(backend, wanted)| (backend.target.address.to_string(), wanted.was_ready))
            .collect();
        assert_eq!(found, [("192.0.2.11".to_owned(), false), ("192.0.2.12".to_owned(), true)]);
        assert!(wanted.values().all(|wanted| wanted.check == lb.check().unwrap().health_check));
        assert!(probes(&[served(&raw_lb())], |_| BTreeSet::new()).is_empty(), "nothing is to be found out");
    }

    #[test]
    fn a_listener_with_a_check_of_its_own_goes_by_it() {
        let mut lb = checked_lb();
        lb.spec.listeners.push(Listener {
            name: "admin".into(),
            port: 81,
            protocol: "TCP".into(),
            backend_port: 8081,
            health_check: Some(HealthCheck::default()),
            ..Listener::default()
        });
        let served = served(&lb);
        let wanted = probes(std::slice::from_ref(&served), |_| BTreeSet::new());
        let probed: Vec<_> = wanted
            .iter()
            .map(|(backend, wanted)| (backend.target.listener, wanted.check.as_ref().unwrap().port.get()))
            .collect();
        let admin: Option<Arc<str>> = Some("admin".into());
        assert_eq!(probed, [(None, 8080), (admin.clone(), 8081), (None, 8080), (admin.clone(), 8081)]);
        let mut health = health(&[(11, true), (12, true)]);
        for host in [11, 12] {
            let target = Target { address: [192, 0, 2, host].into(), listener: admin.clone() };
            let backend = Backend { lb: lb.metadata.key(), target };
            health.insert(backend, Health { ready: host == 11, reason: Reason::Succeeded });
        }
        let desired = desired(&[served], &health, SLOTS, place);
        let admitted = |port| {
            let listener = &desired.listeners[&ListenerAddress::new(VIP.into(), port, Protocol::Tcp)];
            listener.backends.values().map(|backend| backend.admitted).collect::<Vec<_>>()
        };
        assert_eq!((admitted(80), admitted(81)), (vec![true, true], vec![true, false]));
    }
}
