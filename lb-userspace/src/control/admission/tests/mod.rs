mod bounds;
mod by_hand;
mod leaving;
mod sharing;

use serde_json::json;

use super::*;
use crate::model::ip_pool::{IpPool, PoolRange, ScopeTuple};
use crate::model::load_balancer::{Listener, LoadBalancer};
use crate::model::meta::GROUP;

fn pool(name: &str, start: &str, end: &str) -> IpPool {
    let mut pool = IpPool::new(name);
    pool.spec.ranges = vec![PoolRange {
        subnet: "192.0.2.0/24".into(),
        range_start: start.into(),
        range_end: end.into(),
        gateway: String::new(),
    }];
    pool.spec.selector.scope = vec![ScopeTuple::new("*", "shop", "*")];
    pool
}

fn balancer(name: &str) -> LoadBalancer {
    let mut object = LoadBalancer::new("shop", name);
    object.spec.listeners = vec![Listener {
        name: "web".into(),
        port: 80,
        protocol: "TCP".into(),
        backend_port: 8080,
        ..Listener::default()
    }];
    object
}

fn created(manifests: impl IntoIterator<Item = Manifest>) -> Resources {
    let mut resources = Resources::default();
    for (moment, manifest) in manifests.into_iter().enumerate() {
        resources = done(&resources, &[Intent::Create(manifest)], moment);
    }
    resources
}

fn submit(resources: &Resources, intents: &[Intent], moment: usize) -> Result<Resources, Refusal> {
    let now = format!("2026-01-01T00:00:{moment:02}Z");
    let mut uid = || "uid".to_owned();
    let vlans = Vlans::from([("lab/vlan7".to_owned(), 7)]);
    admit(resources, intents, &mut Stamps { now: &now, uid: &mut uid, manager: "test", vlans: &vlans })
        .map(|(resources, _)| resources)
}

fn done(resources: &Resources, intents: &[Intent], moment: usize) -> Resources {
    submit(resources, intents, moment).unwrap()
}

fn lb(object: LoadBalancer) -> Manifest {
    Manifest::LoadBalancer(Box::new(object))
}

fn ip_pool(object: IpPool) -> Manifest {
    Manifest::IpPool(Box::new(object))
}

fn key(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

fn address(resources: &Resources, name: &str) -> String {
    resources.load_balancers[&key(name)].status.address.clone()
}

fn condition(resources: &Resources, name: &str, kind: &str) -> (String, String) {
    let conditions = &resources.load_balancers[&key(name)].status.conditions;
    let condition = conditions.iter().find(|condition| condition.kind == kind).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

#[test]
fn c21_the_oldest_of_those_that_wait_gets_the_freed_address() {
    let lab = ip_pool(pool("lab", "192.0.2.80", "192.0.2.80"));
    let resources = created([lab, lb(balancer("a")), lb(balancer("z")), lb(balancer("b"))]);
    assert_eq!(address(&resources, "a"), "192.0.2.80");
    assert_eq!(condition(&resources, "z", "Ready"), pair("False", "AddressNotAssigned"));
    let resources =
        done(&resources, &[Intent::Delete(Reference::LoadBalancer(key("a")), Preconditions::default())], 9);
    assert_eq!([address(&resources, "z"), address(&resources, "b")], ["192.0.2.80", ""]);
    assert_eq!(condition(&resources, "z", "Allocated"), pair("True", "Assigned"));
}

#[test]
fn a_pool_that_comes_later_serves_those_that_wait() {
    let resources = created([lb(balancer("a"))]);
    assert_eq!(condition(&resources, "a", "Allocated"), pair("False", "NoPool"));
    let lab = Intent::Create(ip_pool(pool("lab", "192.0.2.80", "192.0.2.81")));
    let resources = done(&resources, &[lab], 9);
    assert_eq!(address(&resources, "a"), "192.0.2.80");
    assert_eq!(resources.pools["lab"].status.available, 1);
}

#[test]
fn a_full_new_pool_leaves_the_address_and_says_so() {
    let narrow = ip_pool(pool("narrow", "192.0.2.90", "192.0.2.90"));
    let mut other = balancer("other");
    other.spec.ip_pool = "narrow".into();
    let mut wide = pool("wide", "192.0.2.80", "192.0.2.81");
    wide.spec.selector.priority = 1;
    let resources = created([ip_pool(wide), narrow, lb(balancer("a")), lb(other)]);
    assert_eq!([address(&resources, "a"), address(&resources, "other")], ["192.0.2.80", "192.0.2.90"]);
    let mut moved = balancer("a");
    moved.spec.ip_pool = "narrow".into();
    let resources = done(&resources, &[Intent::Replace(lb(moved))], 9);
    assert_eq!(address(&resources, "a"), "192.0.2.80");
    assert_eq!(condition(&resources, "a", "Allocated"), pair("False", "PoolExhausted"));
}

#[test]
fn an_address_that_cannot_be_had_is_refused_by_its_field() {
    let lab = ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"));
    let resources = created([lab, lb(balancer("a"))]);
    for (wanted, word) in [("192.0.2.80", "is taken"), ("192.0.2.99", "gives 192.0.2.99")] {
        let mut object = balancer("b");
        object.spec.address = wanted.into();
        let refusal = submit(&resources, &[Intent::Create(lb(object))], 9).unwrap_err().to_string();
        assert!(refusal.contains("spec.address: ") && refusal.contains(word), "{refusal}");
        assert!(!refusal.contains("shop/a"), "{refusal}");
    }
    let mut object = balancer("b");
    object.spec.address = "192.0.2.81".into();
    assert_eq!(address(&done(&resources, &[Intent::Create(lb(object))], 9), "b"), "192.0.2.81");
}

#[test]
fn a_named_pool_that_is_missing_or_closed_is_refused() {
    let mut closed = pool("closed", "192.0.2.80", "192.0.2.81");
    closed.spec.selector.scope = vec![ScopeTuple::new("*", "other", "*")];
    let resources = created([ip_pool(closed)]);
    for name in ["closed", "missing"] {
        let mut object = balancer("a");
        object.spec.ip_pool = name.into();
        let refusal = submit(&resources, &[Intent::Create(lb(object))], 9).unwrap_err().to_string();
        assert!(refusal.contains("spec.ipPool: "), "{refusal}");
    }
}

#[test]
fn c43_writing_the_same_again_changes_nothing() {
    let lab = ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"));
    let resources = created([lab.clone(), lb(balancer("a"))]);
    let again = done(&resources, &[Intent::Apply(lb(balancer("a"))), Intent::Apply(lab)], 9);
    assert_eq!(again, resources);
}

#[test]
fn a_pool_and_its_last_user_go_together() {
    let lab = ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"));
    let resources = created([lab, lb(balancer("a"))]);
    let delete_pool = Intent::Delete(Reference::IpPool("lab".into()), Preconditions::default());
    assert!(submit(&resources, std::slice::from_ref(&delete_pool), 9).is_err());
    let both = [delete_pool, Intent::Delete(Reference::LoadBalancer(key("a")), Preconditions::default())];
    assert_eq!(done(&resources, &both, 9), Resources::default());
}

/// As Harvester's cloud provider writes it: a type, and where the address comes from.
fn of_a_guest(name: &str) -> LoadBalancer {
    let mut object = LoadBalancer::new("shop", name);
    object.spec.workload_type = "cluster".into();
    object.spec.ipam = "pool".into();
    object
}

#[test]
fn c32_a_guest_clusters_load_balancer_has_its_address_at_once() {
    let lab = ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"));
    let resources = created([lab, lb(of_a_guest("guest"))]);
    let status = &resources.load_balancers[&key("guest")].status;
    assert_eq!(status.allocated_address.as_ref().unwrap().ip, "192.0.2.80");
    assert_eq!(status.address, "", "what the cluster announces is its own to tell");
}

#[test]
fn c39_a_guest_cluster_waits_for_an_address_of_a_full_pool() {
    let lab = ip_pool(pool("lab", "192.0.2.80", "192.0.2.80"));
    let resources = created([lab, lb(balancer("a")), lb(of_a_guest("guest"))]);
    let uid = resources.load_balancers[&key("guest")].metadata.uid.clone();
    assert_eq!(condition(&resources, "guest", "Allocated"), pair("False", "PoolExhausted"));
    let delete = Intent::Delete(Reference::LoadBalancer(key("a")), Preconditions::default());
    let resources = done(&resources, &[delete], 9);
    let guest = &resources.load_balancers[&key("guest")];
    assert_eq!(guest.status.allocated_address.as_ref().unwrap().ip, "192.0.2.80");
    assert_eq!(guest.metadata.uid, uid, "it is the same object");
}

#[test]
fn b6_13_a_range_keeps_the_addresses_that_are_in_use() {
    let resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81")), lb(balancer("a"))]);
    let without = Intent::Replace(ip_pool(pool("lab", "192.0.2.81", "192.0.2.90")));
    let refusal = submit(&resources, std::slice::from_ref(&without), 9).unwrap_err().to_string();
    assert!(refusal.contains("192.0.2.80, allocated to shop/a, is excluded"), "{refusal}");
    let deletion = Intent::Delete(Reference::LoadBalancer(key("a")), Preconditions::default());
    let resources = done(&resources, &[deletion], 9);
    assert_eq!(done(&resources, &[without], 10).pools["lab"].status.total, 10);
}

#[test]
fn a_pool_is_labelled_as_harvesters_dashboard_expects() {
    let label = |pool: &IpPool, name: &str| pool.metadata.labels[&format!("{GROUP}/{name}")].clone();
    for (network, vid) in [("", "0"), ("lab/vlan7", "7"), ("lab/other", "0")] {
        let mut lab = pool("lab", "192.0.2.80", "192.0.2.81");
        lab.spec.selector.network = network.into();
        lab.metadata.labels.insert(format!("{GROUP}/vid"), "4000".into());
        let resources = created([ip_pool(lab)]);
        let lab = &resources.pools["lab"];
        assert_eq!([label(lab, "vid"), label(lab, "global-ip-pool")], [vid, "false"], "{network:?}");
    }
}

#[test]
fn a5_6_a_guest_cluster_gets_an_address_of_its_management_network() {
    let mut tagged = pool("tagged", "192.0.2.90", "192.0.2.91");
    tagged.spec.selector.network = "lab/vlan7".into();
    let mut object = of_a_guest("guest");
    let annotation = "cloudprovider.harvesterhci.io/managementNetwork".to_owned();
    object.metadata.annotations.insert(annotation, "lab/vlan7".into());
    let untagged = pool("untagged", "192.0.2.80", "192.0.2.81");
    let resources = created([ip_pool(untagged), ip_pool(tagged), lb(object.clone())]);
    let allocated = resources.load_balancers[&key("guest")].status.allocated_address.clone().unwrap();
    assert_eq!((allocated.ip_pool.as_str(), allocated.ip.as_str()), ("tagged", "192.0.2.90"));
    assert_eq!(
        done(&resources, &[Intent::Replace(lb(object))], 9),
        resources,
        "its provider writes it again"
    );
}

#[test]
fn b6_15_whoever_writes_a_pool_hears_of_those_that_it_was_not_compared_with() {
    let mut broken = pool("broken", "192.0.2.80", "192.0.2.81");
    broken.spec.ranges[0].range_end = "192.0.2.300".into();
    let mut resources = Resources::default();
    resources.pools.insert("broken".into(), broken);
    let vlans = Vlans::new();
    let mut uid = || "uid".to_owned();
    let mut stamps = Stamps { now: "2026-01-01T00:00:00Z", uid: &mut uid, manager: "test", vlans: &vlans };
    let intents =
        [Intent::Create(ip_pool(pool("lab", "192.0.2.90", "192.0.2.91"))), Intent::Create(lb(balancer("a")))];
    let (_, outcomes) = admit(&resources, &intents, &mut stamps).unwrap();
    let [lab, balancer] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!(lab.warnings[0].starts_with("pool broken is ignored until it is repaired: spec.ranges[0]"));
    assert_eq!((lab.warnings.len(), balancer.warnings.len()), (1, 0));
    assert_eq!(balancer.change, Change::Created);
}

/// Each write read all addresses of all pools anew.
#[test]
fn an_edit_moves_no_address_unless_its_pool_has_forgotten_that_it_gave_it() {
    let mut resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81")), lb(balancer("a"))]);
    let mut edited = balancer("a");
    edited.spec.weights.insert("vm-1".into(), 3);
    let intent = [Intent::Replace(lb(edited))];
    let after = done(&resources, &intent, 9);
    assert_eq!((&after.pools, address(&after, "a")), (&resources.pools, "192.0.2.80".into()));
    assert_eq!(after.load_balancers[&key("a")].spec.weights["vm-1"], 3);
    resources.pools.get_mut("lab").unwrap().status.allocated.clear();
    let after = done(&resources, &intent, 9);
    assert_eq!(after.pools["lab"].status.allocated, [(address(&after, "a"), "shop/a".into())].into());
}

#[test]
fn an_edit_takes_over_what_the_pool_says_of_the_address() {
    let resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81")), lb(balancer("a"))]);
    let mut wired = pool("lab", "192.0.2.80", "192.0.2.81");
    wired.spec.ranges[0].gateway = "192.0.2.254".into();
    let resources = done(&resources, &[Intent::Replace(ip_pool(wired))], 8);
    let mut edited = balancer("a");
    edited.spec.weights.insert("vm-1".into(), 3);
    let after = done(&resources, &[Intent::Replace(lb(edited))], 9);
    let told = after.load_balancers[&key("a")].status.allocated_address.as_ref().unwrap();
    assert_eq!((told.ip.as_str(), told.gateway.as_str()), ("192.0.2.80", "192.0.2.254"));
}

/// The status is a hundred times as long as what is written, and was made JSON and read again with each write.
#[test]
fn a_patch_keeps_the_status_and_may_ask_for_it() {
    let resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81")), lb(balancer("a"))]);
    let reference = || Reference::LoadBalancer(key("a"));
    let operations = |address: &str| {
        json!([
            {"op": "test", "path": "/status/address", "value": address},
            {"op": "add", "path": "/spec/description", "value": "edited"},
        ])
    };
    let json_patch = |address| Patch::Json(serde_json::from_value(operations(address)).unwrap());
    let merge = Patch::Merge(json!({"spec": {"description": "edited"}, "status": {"address": "192.0.2.99"}}));
    for patch in [merge, json_patch("192.0.2.80")] {
        let after = done(&resources, &[Intent::Patch(reference(), patch)], 9);
        let (before, after) = (&resources.load_balancers[&key("a")], &after.load_balancers[&key("a")]);
        assert_eq!((&after.status, after.spec.description.as_str()), (&before.status, "edited"));
    }
    submit(&resources, &[Intent::Patch(reference(), json_patch("192.0.2.99"))], 9).unwrap_err();
}
