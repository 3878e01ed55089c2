//! Backends of which the prober has not told anything yet.

use super::*;
use crate::datapath::model::BackendState;
use crate::health::model::Target;

/// shop/front as it is, and shop/other at another address and port, which has no check.
fn two(front: &Facts, spec: impl Fn(&mut LoadBalancer, &mut LoadBalancer)) -> Facts {
    let mut one = LoadBalancer::clone(front.resources.load_balancers.values().next().unwrap());
    let mut other = raw_lb();
    other.metadata.name = "other".to_owned();
    give(&mut other, "203.0.113.11");
    spec(&mut one, &mut other);
    let both = [one, other].map(|object| (object.metadata.key(), object.into()));
    let resources = Resources { load_balancers: both.into(), ..Resources::default() };
    Facts { resources: resources.into(), ..front.clone() }
}

fn give(lb: &mut LoadBalancer, ip: &str) {
    lb.status.allocated_address = Some(AllocatedAddress { ip: ip.to_owned(), ..AllocatedAddress::default() });
}

fn as_they_are(_: &mut LoadBalancer, _: &mut LoadBalancer) {}

/// Which backends take new flows of each VIP.
fn served(cycle: &mut Cycle<Memory>, facts: &Facts) -> Vec<(String, Vec<String>)> {
    turn(cycle, facts);
    let observed = cycle.converger.datapath().observe().unwrap();
    let of = |index| {
        let ids: BTreeSet<_> = observed.tables.get(index).into_iter().flat_map(Table::iter).collect();
        ids.iter().map(|id| observed.backends[id].address.ip().to_string()).collect()
    };
    observed.listeners.iter().map(|(address, entry)| (address.vip.to_string(), of(&entry.index))).collect()
}

fn lines(served: &[(String, Vec<String>)]) -> Vec<String> {
    served.iter().map(|(vip, backends)| format!("{vip}: {}", backends.join(" "))).collect()
}

#[test]
fn a_backend_that_is_not_known_yet_holds_up_its_own_load_balancer_alone() {
    let mut cycle = cycle();
    let before = two(&facts(&[FIRST], &[FIRST, SECOND]), as_they_are);
    let both = ["203.0.113.10: 192.0.2.11", "203.0.113.11: 192.0.2.11"];
    assert_eq!(lines(&served(&mut cycle, &before)), both);
    let known = two(&facts(&[FIRST, SECOND], &[FIRST, SECOND]), as_they_are);
    let unknown = Facts { health: before.health.clone(), ..known.clone() };
    let held = ["203.0.113.10: 192.0.2.11", "203.0.113.11: 192.0.2.11 192.0.2.12"];
    assert_eq!(lines(&served(&mut cycle, &unknown)), held);
    assert_eq!(statuses(&mut cycle, &unknown), 1, "it would tell of a backend that nobody has looked at");
    let whole = ["203.0.113.10: 192.0.2.11 192.0.2.12", "203.0.113.11: 192.0.2.11 192.0.2.12"];
    assert_eq!(lines(&served(&mut cycle, &known)), whole);
    assert_eq!(statuses(&mut cycle, &known), 2);
}

#[test]
fn an_address_that_is_left_while_a_backend_is_unknown_is_its_next_owners() {
    let mut cycle = cycle();
    let before = two(&facts(&[FIRST], &[FIRST, SECOND]), as_they_are);
    served(&mut cycle, &before);
    let swap = |front: &mut LoadBalancer, other: &mut LoadBalancer| {
        give(front, "203.0.113.11");
        give(other, "203.0.113.10");
    };
    let known = two(&facts(&[FIRST, SECOND], &[FIRST, SECOND]), swap);
    let unknown = Facts { health: before.health.clone(), ..known.clone() };
    for _ in 0..2 {
        let as_before = ["203.0.113.10: 192.0.2.11", "203.0.113.11: 192.0.2.11"];
        assert_eq!(lines(&served(&mut cycle, &unknown)), as_before, "the way there is not known yet");
    }
    let whole = ["203.0.113.10: 192.0.2.11 192.0.2.12", "203.0.113.11: 192.0.2.11 192.0.2.12"];
    assert_eq!(lines(&served(&mut cycle, &known)), whole);
    let vips = cycle.converger.datapath().observe().unwrap().vips;
    assert_eq!(vips.len(), 2);
}

#[test]
fn a_backend_that_nobody_probed_was_ready_when_a_check_comes() {
    let mut cycle = cycle();
    let mut unchecked = facts(&[FIRST], &[FIRST]);
    let mut front = front();
    let check = front.spec.health_check.take();
    let only = |lb: &LoadBalancer| {
        let only = [(lb.metadata.key(), lb.clone().into())];
        Arc::new(Resources { load_balancers: only.into(), ..Resources::default() })
    };
    unchecked.resources = only(&front);
    unchecked.health = Snapshot::new();
    let (chosen, asked) = turn(&mut cycle, &unchecked);
    assert_eq!((chosen.len(), asked.probes.is_empty()), (1, true), "nobody has to find out anything");
    assert_eq!(statuses(&mut cycle, &unchecked), 1);

    front.spec.health_check.clone_from(&check);
    let mut own = front.spec.listeners[0].clone();
    (own.name, own.port, own.health_check) = ("own".to_owned(), 81, check);
    front.spec.listeners.push(own);
    let checked = Facts { resources: only(&front), ..unchecked };
    let (_, asked) = turn(&mut cycle, &checked);
    let wanted: Vec<_> =
        asked.probes.iter().map(|(backend, wanted)| (backend.target, wanted.was_ready)).collect();
    let target =
        |listener: Option<&str>| Target { address: FIRST.into(), listener: listener.map(Into::into) };
    assert_eq!(wanted, [(target(None), true), (target(Some("own")), true)]);
}

/// The flows of one that left died, though one that the prober had not heard of took its place in the same moment.
#[test]
fn who_takes_anothers_place_takes_its_flows_over() {
    let mut cycle = cycle();
    let before = facts(&[FIRST], &[FIRST]);
    served(&mut cycle, &before);
    let ids = |cycle: &mut Cycle<Memory>| {
        let observed = cycle.converger.datapath().observe().unwrap();
        let living = observed.backends.iter().filter(|(_, entry)| entry.state == BackendState::Active);
        living.map(|(id, entry)| (*id, entry.generation)).collect::<Vec<_>>()
    };
    let known = ids(&mut cycle);
    let mut next = front();
    next.metadata.name = "next".to_owned();
    let only = [(next.metadata.key(), next.clone().into())];
    let resources = Resources { load_balancers: only.into(), ..Resources::default() };
    let mut after = Facts { resources: resources.into(), ..before };
    assert_eq!(lines(&served(&mut cycle, &after)), ["203.0.113.10: 192.0.2.11"]);
    let backend = Backend::new(next.metadata.key(), IpAddr::from(FIRST));
    after.health.insert(backend, Health { ready: true, reason: Reason::Succeeded });
    assert_eq!(lines(&served(&mut cycle, &after)), ["203.0.113.10: 192.0.2.11"]);
    assert_eq!(ids(&mut cycle), known);
}

#[test]
fn a_sharer_waits_for_what_its_owner_says_of_clients() {
    let mut cycle = cycle();
    let known = sharing(&front());
    let unknown = Facts { health: Snapshot::new(), ..known.clone() };
    let nobody = Facts { resources: Arc::default(), ..known.clone() };
    assert!(served(&mut cycle, &nobody).is_empty());
    assert!(served(&mut cycle, &unknown).is_empty());
    assert_eq!(statuses(&mut cycle, &unknown), 0);
    assert_eq!(served(&mut cycle, &known).len(), 2);
}
