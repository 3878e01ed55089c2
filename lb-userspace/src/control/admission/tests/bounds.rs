//! What refusals do not tell, and how much one object may be.

use serde_json::json;

use super::*;
use crate::model::meta::ManagedFields;

#[test]
fn a_refusal_names_no_pool_that_is_not_open_to_the_load_balancer() {
    let mut secret = pool("secret", "192.0.2.80", "192.0.2.81");
    secret.spec.selector.scope = vec![ScopeTuple::new("*", "other", "*")];
    let mut open = pool("open", "192.0.2.90", "192.0.2.91");
    open.spec.selector.priority = 1;
    let resources = created([ip_pool(secret), ip_pool(open)]);
    let refused = |name: &str, port: i64| {
        let mut object = balancer("a");
        object.spec.ip_pool = name.into();
        object.spec.listeners[0].port = port;
        submit(&resources, &[Intent::Create(lb(object))], 9).unwrap_err().to_string()
    };
    assert!(refused("missing", 80).contains("use one of open, "));
    for port in [80, 0] {
        // One that is there and one that is not look alike.
        assert_eq!(refused("secret", port), refused("missing", port).replace("missing", "secret"));
    }
}

#[test]
fn a_load_balancer_stays_with_a_pool_that_was_closed_to_it() {
    let resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"))]);
    let mut object = balancer("a");
    object.spec.ip_pool = "lab".into();
    let resources = done(&resources, &[Intent::Create(lb(object.clone()))], 1);
    let mut closed = pool("lab", "192.0.2.80", "192.0.2.81");
    closed.spec.selector.scope = vec![ScopeTuple::new("*", "other", "*")];
    let resources = done(&resources, &[Intent::Replace(ip_pool(closed))], 2);
    object.spec.description = "edited".into();
    let resources = done(&resources, &[Intent::Replace(lb(object))], 3);
    assert_eq!(address(&resources, "a"), "192.0.2.80");
}

/// Every write of it was refused for a pool that the write did not name anew.
#[test]
fn a_load_balancer_that_waits_for_a_pool_that_was_closed_to_it_can_be_edited() {
    let resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.80")), lb(balancer("first"))]);
    for ipam in ["pool", "dhcp"] {
        let mut object = balancer("a");
        object.spec.ipam = ipam.into();
        object.spec.ip_pool = "lab".into();
        let resources = done(&resources, &[Intent::Create(lb(object.clone()))], 1);
        let mut closed = pool("lab", "192.0.2.80", "192.0.2.80");
        closed.spec.selector.scope = vec![ScopeTuple::new("*", "other", "*")];
        let resources = done(&resources, &[Intent::Replace(ip_pool(closed))], 2);
        object.spec.description = "edited".into();
        let edited = done(&resources, &[Intent::Replace(lb(object.clone()))], 3);
        assert_eq!(edited.load_balancers[&key("a")].spec.description, "edited");
        if ipam == "pool" {
            assert_eq!(condition(&edited, "a", "Allocated"), pair("False", "NoAddress"));
        }
        object.metadata.annotations.insert(format!("{GROUP}/project"), "another".into());
        let refusal = submit(&edited, &[Intent::Replace(lb(object))], 4).unwrap_err().to_string();
        assert!(refusal.contains("spec.ipPool: "), "it asks for the pool anew: {refusal}");
    }
}

/// It was told when the pool was edited.
#[test]
fn a_pool_that_an_earlier_version_stored_is_told_ready_with_the_next_change() {
    let mut resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"))]);
    let stored = resources.pools.get_mut("lab").unwrap();
    let told = std::mem::take(&mut stored.status.conditions);
    assert!(told.iter().any(|condition| condition.kind == "Ready"));
    let after = done(&resources, &[Intent::Create(lb(balancer("a")))], 9);
    let ready =
        |pool: &IpPool| pool.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True");
    assert!(ready(&after.pools["lab"]));
}

#[test]
fn objects_beyond_any_use_are_refused_before_they_cost_anything() {
    let resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"))]);
    let refused = |change: &dyn Fn(&mut LoadBalancer)| {
        let mut object = balancer("a");
        change(&mut object);
        submit(&resources, &[Intent::Create(lb(object))], 9).unwrap_err().to_string()
    };
    let long = "x".repeat(200_000);
    let text = refused(&|object| {
        object.metadata.annotations = [("a".to_owned(), long.clone()), ("b".to_owned(), long.clone())].into();
    });
    assert!(text.contains("metadata.annotations: longer than 262144 bytes"), "{text}");
    let text = refused(&|object| object.spec.description = long.repeat(6));
    assert!(text.contains("the object is longer than 1048576 bytes"), "{text}");
    let text = refused(&|object| object.metadata.managed_fields = vec![ManagedFields::default(); 101]);
    assert!(text.contains("metadata.managedFields: more than 100 writers"), "{text}");
    let deep = (0..40).fold(json!({}), |inner, _| json!({ "f:a": inner }));
    let text = refused(&|object| {
        object.metadata.managed_fields =
            vec![ManagedFields { fields: deep.clone(), ..ManagedFields::default() }];
    });
    assert!(text.contains("metadata.managedFields[0].fieldsV1: more than 16 levels"), "{text}");
    let text = refused(&|object| object.metadata.labels = [("a b".to_owned(), "c d".to_owned())].into());
    assert!(text.contains("not a label's key") && text.contains("not a label's value"), "{text}");
    let text = refused(&|object| {
        let listener = |n| Listener { name: format!("l{n}"), ..object.spec.listeners[0].clone() };
        object.spec.listeners = (0..2_000).map(listener).collect();
    });
    assert!(text.contains("spec.listeners: more than"), "{}", &text[..200]);
}

#[test]
fn a_hundred_writers_may_apply_to_one_object_and_no_more() {
    let mut resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"))]);
    let manifest = serde_json::to_value(balancer("a")).unwrap();
    for n in 0..=100 {
        let reference = Reference::LoadBalancer(key("a"));
        let intent = Intent::ApplyFields { reference, manifest: manifest.clone(), force: false };
        let manager = format!("writer-{n}");
        let mut uid = || "uid".to_owned();
        let mut stamps =
            Stamps { now: "2026-01-01T00:00:00Z", uid: &mut uid, manager: &manager, vlans: &Vlans::new() };
        match admit(&resources, &[intent], &mut stamps) {
            Ok((after, _)) if n < 100 => resources = after,
            Err(refusal) if n == 100 => assert!(refusal.to_string().contains("have applied fields")),
            other => panic!("writer {n}: {other:?}"),
        }
    }
}

#[test]
fn a_guest_cluster_announces_an_address_and_nothing_else() {
    let mut object = LoadBalancer::new("shop", "a");
    object.spec.workload_type = "cluster".into();
    object.status.address = "x".repeat(1_000_000);
    let resources = created([ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"))]);
    let refusal = submit(&resources, &[Intent::Create(lb(object.clone()))], 9).unwrap_err().to_string();
    assert!(refusal.contains("status.address: not an IP address") && refusal.len() < 400, "{refusal}");
    object.status.address = "192.0.2.9".into();
    assert_eq!(address(&done(&resources, &[Intent::Create(lb(object))], 9), "a"), "192.0.2.9");
}
