//! An address that several load balancers have.

use super::*;

/// Of a name, on `PROTOCOL port` or `PROTOCOL first-last`, with the address of `owner` unless that is empty.
fn listening(name: &str, owner: &str, listener: &str) -> LoadBalancer {
    let mut object = LoadBalancer::new("shop", name);
    object.spec.share_address_with = owner.into();
    let (protocol, ports) = listener.split_once(' ').unwrap();
    let (port, end_port) = ports.split_once('-').unwrap_or((ports, "0"));
    let backend_port = if end_port == "0" { 8080 } else { 0 };
    object.spec.listeners = vec![Listener {
        port: port.parse().unwrap(),
        end_port: end_port.parse().unwrap(),
        protocol: protocol.into(),
        backend_port,
        ..Listener::default()
    }];
    object
}

/// Pool lab; shop/a on TCP 80 with an address of it, which shop/b on TCP 81 shares.
fn shared() -> Resources {
    let lab = ip_pool(pool("lab", "192.0.2.80", "192.0.2.81"));
    created([lab, lb(balancer("a")), lb(listening("b", "a", "TCP 81"))])
}

fn refused(resources: &Resources, intent: Intent) -> String {
    submit(resources, &[intent], 9).unwrap_err().to_string()
}

fn delete(name: &str) -> Intent {
    Intent::Delete(Reference::LoadBalancer(key(name)), Preconditions::default())
}

#[test]
fn d26_a_shared_address_is_given_once_and_its_pool_lists_who_has_it() {
    let resources = shared();
    assert_eq!([address(&resources, "a"), address(&resources, "b")], ["192.0.2.80", "192.0.2.80"]);
    let status = &resources.pools["lab"].status;
    assert_eq!(status.allocated, [("192.0.2.80".to_owned(), "shop/a".to_owned())].into());
    assert_eq!(status.shared, [("192.0.2.80".to_owned(), vec!["shop/b".to_owned()])].into());
    assert_eq!((status.total, status.available), (2, 1));
    let given = |name: &str| resources.load_balancers[&key(name)].status.allocated_address.clone();
    assert_eq!(given("a"), given("b"));
    assert_eq!(condition(&resources, "b", "Allocated"), pair("True", "Assigned"));
    assert_eq!(done(&resources, &[Intent::Apply(lb(listening("b", "a", "TCP 81")))], 9), resources);
}

#[test]
fn d26_protocol_and_port_decide_whether_two_load_balancers_can_share() {
    let resources = shared();
    for (listener, other) in [
        ("TCP 80", Some("spec.listeners[0].port: TCP 80 is taken by a,")),
        ("TCP 81", Some("spec.listeners[0].port: TCP 81 is taken by b,")),
        ("TCP 81-90", Some("spec.listeners[0].port: TCP 81 to 90 is taken by b,")),
        ("TCP 70-80", Some("spec.listeners[0].port: TCP 70 to 80 is taken by a,")),
        ("UDP 80", None),
        ("TCP 82-90", None),
    ] {
        let create = Intent::Create(lb(listening("c", "a", listener)));
        match other {
            Some(expected) => {
                let refusal = refused(&resources, create);
                assert!(refusal.contains(expected), "{listener}: {refusal}");
            }
            None => assert_eq!(address(&done(&resources, &[create], 9), "c"), "192.0.2.80", "{listener}"),
        }
    }
}

#[test]
fn d26_a_change_of_listeners_that_collides_is_refused_whole_on_either_side() {
    let resources = shared();
    let wide = listening("a", "", "TCP 80-90");
    let refusal = refused(&resources, Intent::Replace(lb(wide)));
    assert!(refusal.contains("shop/a") && refusal.contains("TCP 80 to 90 is taken by b,"), "{refusal}");
    let refusal = refused(&resources, Intent::Replace(lb(listening("b", "a", "TCP 80"))));
    assert!(refusal.contains("shop/b") && refusal.contains("TCP 80 is taken by a,"), "{refusal}");
    let mut swapped = balancer("a");
    swapped.spec.listeners[0].port = 81;
    let swap = [Intent::Replace(lb(swapped)), Intent::Replace(lb(listening("b", "a", "TCP 80")))];
    assert!(submit(&resources, &swap, 9).is_ok(), "both at once do not collide");
}

#[test]
fn c37_an_address_stays_while_others_share_it() {
    let resources = shared();
    let refusal = refused(&resources, delete("a"));
    assert!(refusal.contains("status.address: shared with b") && refusal.contains("192.0.2.80"), "{refusal}");
    let mut held = balancer("a");
    held.metadata.finalizers = vec!["example.com/waits".into()];
    let with_finalizer = done(&resources, &[Intent::Replace(lb(held))], 8);
    assert!(refused(&with_finalizer, delete("a")).contains("shared with b"));
    let refusal = refused(&resources, Intent::Replace(lb(listening("a", "c", "TCP 80"))));
    assert!(refusal.contains("shop/a") && refusal.contains("shared with b"), "{refusal}");
    let both = done(&resources, &[delete("a"), delete("b")], 9);
    assert_eq!((both.load_balancers.len(), both.pools["lab"].status.available), (0, 2));
    assert!(both.pools["lab"].status.shared.is_empty());
    assert_eq!(address(&done(&resources, &[delete("b")], 9), "a"), "192.0.2.80");
}

#[test]
fn d26_only_an_address_of_a_pool_is_shared_within_its_namespace() {
    let mut leased = balancer("leased");
    leased.spec.ipam = "dhcp".into();
    let resources =
        done(&shared(), &[Intent::Create(lb(leased)), Intent::Create(lb(of_a_guest("guest")))], 8);
    for (owner, problem) in [
        ("missing", "no such load balancer"),
        ("b", "shares the address of another itself"),
        ("leased", "by DHCP"),
        ("guest", "a guest cluster's"),
    ] {
        let refusal = refused(&resources, Intent::Create(lb(listening("c", owner, "TCP 85"))));
        assert!(refusal.contains("spec.shareAddressWith: ") && refusal.contains(problem), "{refusal}");
    }
    let mut foreign = listening("c", "a", "TCP 85");
    foreign.metadata.namespace = "bank".into();
    assert!(refused(&resources, Intent::Create(lb(foreign))).contains("no such load balancer"));
}

#[test]
fn d26_who_shares_follows_who_has_the_address_and_waits_with_it() {
    let resources = created([lb(balancer("a")), lb(listening("b", "a", "TCP 81"))]);
    assert_eq!(condition(&resources, "b", "Allocated"), pair("False", "NoAddress"));
    let lab = Intent::Create(ip_pool(pool("lab", "192.0.2.80", "192.0.2.81")));
    let resources = done(&resources, &[lab], 8);
    assert_eq!([address(&resources, "a"), address(&resources, "b")], ["192.0.2.80", "192.0.2.80"]);
    let mut moved = balancer("a");
    moved.spec.address = "192.0.2.81".into();
    let resources = done(&resources, &[Intent::Replace(lb(moved))], 9);
    assert_eq!([address(&resources, "a"), address(&resources, "b")], ["192.0.2.81", "192.0.2.81"]);
    assert_eq!(resources.pools["lab"].status.shared["192.0.2.81"], ["shop/b"]);
}

#[test]
fn d26_sharing_begins_and_ends_without_leaking_an_address() {
    let resources = created([
        ip_pool(pool("lab", "192.0.2.80", "192.0.2.81")),
        lb(balancer("a")),
        lb(listening("b", "", "TCP 81")),
        lb(listening("waits", "", "TCP 82")),
    ]);
    assert_eq!([address(&resources, "b"), address(&resources, "waits")], ["192.0.2.81", ""]);
    let shared = done(&resources, &[Intent::Replace(lb(listening("b", "a", "TCP 81")))], 8);
    assert_eq!([address(&shared, "b"), address(&shared, "waits")], ["192.0.2.80", "192.0.2.81"]);
    let freed = done(&shared, &[delete("waits")], 9);
    let own = done(&freed, &[Intent::Replace(lb(listening("b", "", "TCP 81")))], 10);
    assert_eq!([address(&own, "a"), address(&own, "b")], ["192.0.2.80", "192.0.2.81"]);
    assert!(own.pools["lab"].status.shared.is_empty());
}

#[test]
fn d12_who_ceases_to_share_keeps_the_address_until_there_is_one_of_its_own() {
    let lab = ip_pool(pool("lab", "192.0.2.80", "192.0.2.80"));
    let resources = created([lab, lb(balancer("a")), lb(listening("b", "a", "TCP 81"))]);
    let refusal = refused(&resources, Intent::Replace(lb(listening("b", "", "TCP 81"))));
    assert!(refusal.contains("shop/b") && refusal.contains("spec.shareAddressWith: "), "{refusal}");
    assert!(refusal.contains("192.0.2.80 is shared") && refusal.contains("until its pool"), "{refusal}");
    let mut edited = listening("b", "a", "TCP 81");
    edited.spec.description = "as before".into();
    assert_eq!(address(&done(&resources, &[Intent::Replace(lb(edited))], 9), "b"), "192.0.2.80");
    let alone = [delete("a"), Intent::Replace(lb(listening("b", "", "TCP 81")))];
    assert_eq!(address(&done(&resources, &alone, 9), "b"), "192.0.2.80", "it takes what its owner leaves");
}

#[test]
fn d12_who_has_an_address_does_not_begin_to_share_with_one_that_waits() {
    let of_full = |name: &str| {
        let mut object = balancer(name);
        object.spec.ip_pool = "full".into();
        lb(object)
    };
    let mut lab = pool("lab", "192.0.2.80", "192.0.2.81");
    lab.spec.selector.priority = 1;
    let resources = created([
        ip_pool(lab),
        ip_pool(pool("full", "192.0.2.90", "192.0.2.90")),
        of_full("first"),
        of_full("waits"),
        lb(balancer("a")),
        lb(listening("b", "", "TCP 81")),
        lb(listening("c", "a", "TCP 83")),
        lb(listening("d", "waits", "TCP 84")),
    ]);
    let addresses = ["waits", "b", "c", "d"].map(|name| address(&resources, name));
    assert_eq!(addresses, ["", "192.0.2.81", "192.0.2.80", ""]);
    for (name, port, had) in [("b", "TCP 81", "192.0.2.81"), ("c", "TCP 83", "192.0.2.80")] {
        let refusal = refused(&resources, Intent::Replace(lb(listening(name, "waits", port))));
        let expected = format!("waits has no address yet, and {had} would be lost");
        assert!(refusal.contains("spec.shareAddressWith: ") && refusal.contains(&expected), "{refusal}");
    }
    let own = done(&resources, &[Intent::Replace(lb(listening("d", "", "TCP 84")))], 9);
    assert_eq!(address(&own, "d"), "", "who has none may wait for whatever it likes");
}
