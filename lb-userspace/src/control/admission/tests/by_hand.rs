//! Addresses that an operator frees.

use super::*;

/// After a request to free an address of a pool that has records of a load balancer that exists, shop/a, and of one
/// that does not, shop/ghost.
fn requested(request: &str) -> IpPool {
    let mut resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81")), lb(balancer("a"))]);
    let stored = resources.pools.get_mut("lab").unwrap();
    stored.status.allocated.insert("192.0.2.81".into(), "shop/ghost".into());
    stored.status.available = 0;
    let mut written = stored.clone();
    written.metadata.annotations.insert(format!("{GROUP}/manuallyReleaseIP"), request.into());
    done(&resources, &[Intent::Replace(ip_pool(written))], 9).pools["lab"].clone()
}

fn outcome(pool: &IpPool) -> (String, String) {
    let condition = pool.status.conditions.iter().find(|condition| condition.kind == RELEASED).unwrap();
    (condition.status.clone(), condition.message.clone())
}

#[test]
fn c25_an_address_is_freed_by_hand_if_its_load_balancer_is_gone() {
    let freed = requested("192.0.2.81: shop/ghost");
    assert_eq!(outcome(&freed), pair("True", "192.0.2.81 of shop/ghost"));
    assert_eq!(freed.status.allocated, [("192.0.2.80".to_owned(), "shop/a".to_owned())].into());
    assert_eq!((freed.status.total, freed.status.available), (2, 1));
    assert_eq!(freed.status.allocated_history["192.0.2.81"], "shop/ghost");
    for (request, word) in [
        ("192.0.2.80: shop/a", "exists"),
        ("192.0.2.81: shop/other", "no such record"),
        ("192.0.2.82: shop/ghost", "no such record"),
        ("192.0.2.81", "write address: namespace/name"),
        ("192.0.2.81: ghost", "write address: namespace/name"),
        ("", "write address: namespace/name"),
    ] {
        let kept = requested(request);
        let (status, message) = outcome(&kept);
        assert!(status == "False" && message.contains(word), "{request}: {message}");
        assert_eq!((kept.status.allocated.len(), kept.status.available), (2, 0), "{request}");
    }
    let annotations =
        [requested("192.0.2.81: shop/ghost"), requested("192.0.2.80: shop/a"), requested("text")];
    assert!(annotations.iter().all(|pool| pool.metadata.annotations.is_empty()), "it is asked for once");
}

#[test]
fn who_waits_gets_the_address_that_is_freed_by_hand() {
    let mut resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.80"))]);
    let stored = resources.pools.get_mut("lab").unwrap();
    stored.status.allocated.insert("192.0.2.80".into(), "shop/ghost".into());
    let resources = done(&resources, &[Intent::Create(lb(balancer("a")))], 8);
    assert_eq!(address(&resources, "a"), "");
    let mut written = resources.pools["lab"].clone();
    written
        .metadata
        .annotations
        .insert(format!("{GROUP}/manuallyReleaseIP"), "192.0.2.80: shop/ghost".into());
    let resources = done(&resources, &[Intent::Replace(ip_pool(written))], 9);
    assert_eq!(address(&resources, "a"), "192.0.2.80");
}
