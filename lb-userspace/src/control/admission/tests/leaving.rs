//! Objects that wait for finalizers.

use super::*;

const FINALIZER: &str = "example.com/waits";

fn delete(reference: Reference) -> Intent {
    Intent::Delete(reference, Preconditions::default())
}

fn held(mut pool: IpPool) -> IpPool {
    pool.metadata.finalizers = vec![FINALIZER.into()];
    pool
}

/// It was marked, gave addresses all the same, and could never go.
#[test]
fn b6_16_a_finalizer_is_no_way_around_the_addresses_of_a_pool() {
    let lab = held(pool("lab", "192.0.2.80", "192.0.2.81"));
    let resources = created([ip_pool(lab), lb(balancer("a"))]);
    let deletion = delete(Reference::IpPool("lab".into()));
    let refusal = submit(&resources, std::slice::from_ref(&deletion), 9).unwrap_err().to_string();
    assert!(refusal.contains("192.0.2.80"), "{refusal}");
    let without = done(&resources, &[delete(Reference::LoadBalancer(key("a"))), deletion], 9);
    assert!(without.pools["lab"].metadata.is_terminating());
    let mut released = without.pools["lab"].clone();
    released.metadata.finalizers.clear();
    assert!(done(&without, &[Intent::Replace(ip_pool(released))], 10).pools.is_empty());
}

#[test]
fn a_pool_that_is_about_to_go_gives_no_address() {
    let lab = held(pool("lab", "192.0.2.80", "192.0.2.81"));
    let resources = done(&created([ip_pool(lab)]), &[delete(Reference::IpPool("lab".into()))], 8);
    let waiting = done(&resources, &[Intent::Create(lb(balancer("a")))], 9);
    assert_eq!(condition(&waiting, "a", "Allocated"), pair("False", "NoPool"));
    let mut named = balancer("b");
    named.spec.ip_pool = "lab".into();
    let refusal = submit(&resources, &[Intent::Create(lb(named))], 9).unwrap_err().to_string();
    assert!(refusal.contains("spec.ipPool: "), "{refusal}");
    let mut other = pool("other", "192.0.2.90", "192.0.2.91");
    other.spec.selector.priority = 1;
    let served = done(&waiting, &[Intent::Create(ip_pool(other))], 10);
    assert_eq!(address(&served, "a"), "192.0.2.90");
}

/// A stored object that no rule of today would take, on its way out.
fn resources_of_other_rules() -> Resources {
    let mut wrong = balancer("a");
    wrong.spec.listeners.clear();
    wrong.metadata.labels.insert("no label".into(), "!".into());
    wrong.metadata.finalizers = vec![FINALIZER.into()];
    wrong.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
    let mut lab = held(pool("lab", "192.0.2.80", "192.0.2.81"));
    lab.spec.ranges.clear();
    lab.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
    let mut resources = Resources::default();
    resources.load_balancers.insert(key("a"), wrong.into());
    resources.pools.insert("lab".into(), lab);
    label(&mut resources, &Vlans::new());
    resources
}

#[test]
fn what_was_stored_under_other_rules_can_lose_its_finalizer() {
    let resources = resources_of_other_rules();
    let mut released = LoadBalancer::clone(&resources.load_balancers[&key("a")]);
    released.metadata.finalizers.clear();
    let mut lab = resources.pools["lab"].clone();
    lab.metadata.finalizers.clear();
    let intents = [Intent::Replace(lb(released)), Intent::Replace(ip_pool(lab))];
    assert_eq!(done(&resources, &intents, 9), Resources::default());
}

#[test]
fn what_changes_on_the_way_out_is_checked_and_no_address_is_given() {
    let mut resources = resources_of_other_rules();
    let mut edited = LoadBalancer::clone(&resources.load_balancers[&key("a")]);
    edited.spec.description = "edited".into();
    assert!(submit(&resources, &[Intent::Replace(lb(edited.clone()))], 9).is_err());
    edited.spec.listeners = balancer("a").spec.listeners;
    edited.metadata.labels.clear();
    resources.pools = created([ip_pool(pool("open", "192.0.2.90", "192.0.2.91"))]).pools;
    let resources = done(&resources, &[Intent::Replace(lb(edited))], 9);
    assert_eq!(address(&resources, "a"), "");
}
