//! The cases A3 and B6 of the reference, with the outcome of our decisions.

use super::*;
use crate::model::ip_pool::{PoolRange, ScopeTuple};

/// A pool of spans in 192.0.2.0/24 written `10-20`.
fn pool(name: &str, spans: &[&str], priority: i64, scope: &[[&str; 3]]) -> IpPool {
    let mut pool = IpPool::new(name);
    for span in spans {
        let (start, end) = span.split_once('-').unwrap();
        pool.spec.ranges.push(PoolRange {
            subnet: "192.0.2.0/24".into(),
            range_start: format!("192.0.2.{start}"),
            range_end: format!("192.0.2.{end}"),
            gateway: String::new(),
        });
    }
    pool.spec.selector.priority = priority;
    pool.spec.selector.scope = scope.iter().map(|[p, n, c]| ScopeTuple::new(p, n, c)).collect();
    pool
}

#[track_caller]
fn assert_case(stored: &IpPool, new: &IpPool, expected: Option<(&str, &str)>) {
    match (check_pool(new, [stored]), expected) {
        (Ok((_, broken)), None) => assert_eq!(broken, []),
        (Err(errors), Some((path, beginning))) => {
            assert_eq!(errors[0].path, path);
            assert!(errors[0].problem.starts_with(beginning), "{}", errors[0]);
        }
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

#[test]
fn a_pool_gives_addresses_of_one_family() {
    let mut both = pool("both", &["10-20"], 0, &[]);
    both.spec.ranges.push(PoolRange { subnet: "2001:db8::/64".into(), ..PoolRange::default() });
    let error = &check_pool(&both, []).unwrap_err()[0];
    assert_eq!(error.path, "spec.ranges[1].subnet");
    assert!(error.problem.starts_with("another address family than that of spec.ranges[0]"), "{error}");
    both.spec.ranges.remove(0);
    let (checked, _) = check_pool(&both, [&pool("old", &["10-20"], 0, &[])]).unwrap();
    assert_eq!(checked.total(), i64::MAX);
    let overlapping = IpPool { spec: both.spec.clone(), ..pool("other", &[], 0, &[]) };
    assert_case(&both, &overlapping, Some(("spec.ranges[0]", "overlaps 2001:db8::1-")));
}

const GLOBAL: [&str; 3] = ["*", "*", "*"];

#[test]
fn a3_1_there_is_one_global_pool() {
    let global = pool("global", &["10-20"], 0, &[GLOBAL]);
    let again = pool("again", &["30-40"], 0, &[GLOBAL]);
    assert_case(&global, &again, Some(("spec.selector.scope", "there is already a global pool, global")));
    assert_case(&pool("a", &["10-20"], 0, &[["*", "default", "*"]]), &again, None);
    assert_case(&pool("again", &["10-20"], 0, &[GLOBAL]), &again, None);
}

#[test]
fn a3_3_scopes_and_priorities_tell_pools_apart() {
    let path = "spec.selector.scope[0]";
    let one = |priority, scope| pool("one", &["10-20"], priority, scope);
    let two = |priority, scope| pool("two", &["30-40"], priority, scope);
    let narrow = [["p1", "n1", "*"], ["p1", "n2", "*"], ["p2", "n1", "c1"]];
    assert_case(&one(0, &[GLOBAL]), &two(0, &narrow), None);
    assert_case(&one(1, &[["p1", "*", "*"]]), &two(2, &[["p1", "*", "*"]]), None);
    let others = [["p1", "n1", "c2"], ["p1", "n2", "c1"], ["p2", "*", "*"]];
    assert_case(&one(0, &[["p1", "n1", "c1"]]), &two(0, &others), None);
    assert_case(
        &one(0, &[["p1", "*", "*"]]),
        &two(0, &[["p1", "n1", "c1"]]),
        Some((path, "pool one has the same scope")),
    );
    let same = Some(("spec.selector.priority", "pool one has the same priority"));
    assert_case(&one(5, &[["p1", "*", "*"]]), &two(5, &[["p2", "*", "*"]]), same);
    assert_case(&one(5, &[GLOBAL]), &two(5, &[["p2", "*", "*"]]), None);
    assert_case(&one(0, &[["p1", "*", "*"]]), &two(5, &[["p1", "*", "*"]]), None);
    assert_case(&one(0, &[]), &two(0, &[]), None);
    let mut elsewhere = two(0, &[["p1", "*", "*"]]);
    elsewhere.spec.selector.network = "default/vlan7".into();
    assert_case(&one(0, &[["p1", "*", "*"]]), &elsewhere, None);
}

#[test]
fn b6_1_pools_meet_and_do_not_overlap() {
    let one = |spans: &[&str]| pool("one", spans, 0, &[["*", "n1", "*"]]);
    let two = |spans: &[&str]| pool("two", spans, 0, &[["*", "n2", "*"]]);
    assert_case(&one(&["10-20"]), &two(&["21-30"]), None);
    assert_case(
        &one(&["10-20"]),
        &two(&["20-30"]),
        Some(("spec.ranges[0]", "overlaps 192.0.2.10-192.0.2.20 of pool one")),
    );
    assert_case(&one(&["10-20"]), &two(&["40-50"]), None);
}

#[test]
fn b6_5_pools_without_scope_or_beside_a_global_one_need_no_priority_of_their_own() {
    let path = "spec.selector.scope[0]";
    assert_case(&pool("one", &["10-20"], 7, &[["*", "n1", "*"]]), &pool("two", &["30-40"], 0, &[]), None);
    assert_case(
        &pool("one", &["10-20"], 7, &[GLOBAL]),
        &pool("two", &["30-40"], 7, &[["*", "n1", "*"]]),
        None,
    );
    let one = pool("one", &["10-20"], 0, &[["*", "n1", "*"]]);
    let mut elsewhere = pool("two", &["30-40"], 0, &[["*", "n1", "*"]]);
    assert_case(&one, &elsewhere, Some((path, "pool one has the same scope")));
    elsewhere.spec.selector.network = "default/vlan7".into();
    assert_case(&one, &elsewhere, None);
    assert_case(&one, &pool("two", &["30-40"], 3, &[["*", "n1", "*"]]), None);
}

#[test]
fn b6_7_tuples_of_one_pool_are_disjoint() {
    let stored = pool("one", &["10-20"], 0, &[]);
    let overlap = Some(("spec.selector.scope[1]", "scope overlaps spec.selector.scope[0]"));
    assert_case(&stored, &pool("two", &["30-40"], 0, &[GLOBAL, GLOBAL]), overlap);
    assert_case(&stored, &pool("two", &["30-40"], 0, &[["*", "n1", "*"], ["p1", "n1", "c1"]]), overlap);
    assert_case(&stored, &pool("two", &["30-40"], 0, &[["", "n1", ""], ["p1", "n1", "c1"]]), None);
}

#[test]
fn a3_9_spans_are_disjoint_within_a_pool_and_among_pools() {
    let stored = pool("one", &["50-60"], 0, &[]);
    assert_case(&stored, &pool("two", &["10-20", "30-40"], 0, &[]), None);
    assert_case(&stored, &pool("two", &["10-20", "21-30"], 0, &[]), None);
    let own = Some(("spec.ranges[1]", "overlaps spec.ranges[0]"));
    assert_case(&stored, &pool("two", &["1-254", "10-20"], 0, &[]), own);
    assert_case(&stored, &pool("two", &["10-20", "20-30"], 0, &[]), own);
    let other = Some(("spec.ranges[1]", "overlaps 192.0.2.50-192.0.2.60 of pool one"));
    assert_case(&stored, &pool("two", &["10-20", "40-50"], 0, &[]), other);
    assert_case(&stored, &pool("two", &["61-70"], 0, &[]), None);
}

#[test]
fn a3_13_an_allocated_address_stays_allocatable() {
    let stored = pool("one", &["100-110"], 0, &[]);
    let with = |allocated: &str| {
        let mut pool = pool("two", &["10-20"], 0, &[]);
        pool.status.allocated = [(allocated.to_owned(), "shop/front".to_owned())].into();
        pool
    };
    assert_case(&stored, &with("192.0.2.11"), None);
    assert_case(&stored, &with("xxxxxxxx"), Some(("status.allocated[\"xxxxxxxx\"]", "not an IP address")));
    let excluded = Some(("spec.ranges", "192.0.2.9, allocated to shop/front, is excluded"));
    assert_case(&stored, &with("192.0.2.9"), excluded);
    let mut moved = with("192.0.2.11");
    moved.spec.ranges[0].gateway = "192.0.2.11".into();
    assert_case(&stored, &moved, Some(("spec.ranges[0].gateway", "allocated to shop/front")));
}

#[test]
fn b6_15_a_broken_stored_pool_is_ignored_with_a_warning() {
    let broken = pool("broken", &["10-300"], 0, &[]);
    let (_, warnings) = check_pool(&pool("two", &["10-20"], 0, &[]), [&broken]).unwrap();
    assert_eq!(warnings.iter().map(|warning| warning.name.as_str()).collect::<Vec<_>>(), ["broken"]);
}

#[test]
fn b6_16_a_pool_goes_when_nobody_holds_an_address() {
    let mut pool = pool("one", &["10-20"], 0, &[]);
    assert_eq!(pool.check_delete(), Ok(()));
    pool.status.allocated = [("192.0.2.11".to_owned(), "shop/front".to_owned())].into();
    assert_eq!(pool.check_delete().unwrap_err()[0].path, "status.allocated[\"192.0.2.11\"]");
}

#[test]
fn a_pool_says_all_that_is_wrong_with_it() {
    let mut pool = IpPool::new("Lab");
    pool.spec.selector.priority = -1;
    pool.spec.selector.network = "vlan7".into();
    let errors = pool.check().unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["metadata.name", "spec.selector.priority", "spec.selector.network", "spec.ranges"]);
}

#[test]
fn b1_total_leaves_gateways_out() {
    let total = |subnet: &str, start: &str, gateway: &str| {
        let mut pool = IpPool::new("lab");
        let range = PoolRange {
            subnet: subnet.into(),
            range_start: start.into(),
            gateway: gateway.into(),
            ..PoolRange::default()
        };
        pool.spec.ranges.push(range);
        pool.check().unwrap().total()
    };
    assert_eq!(total("192.168.1.77/24", "", ""), 253);
    assert_eq!(total("10.0.0.0/29", "", ""), 5);
    assert_eq!(total("10.0.0.1/32", "", ""), 1);
    assert_eq!(total("10.0.0.0/24", "10.0.0.10", ""), 245);
    assert_eq!(total("10.0.0.0/24", "10.0.0.251", ""), 4);
    assert_eq!(total("10.0.0.0/24", "10.0.0.10", "10.0.0.254"), 244);
    assert_eq!(total("10.0.0.0/16", "", ""), 65_533);
    assert_eq!(total("2001:db8::/126", "", ""), 2);
    assert_eq!(total("2001:db8::1/128", "", ""), 1);
    assert_eq!(total("2001:db8::/64", "", ""), i64::MAX);
    let mut elsewhere = pool("lab", &["10-20"], 0, &[]);
    elsewhere.spec.ranges[0].gateway = "192.0.2.254".into();
    assert_eq!(elsewhere.check().unwrap().total(), 11);
    assert_eq!(pool("lab", &["1-10"], 0, &[]).check().unwrap().total(), 9, "the default gateway is in it");
    let mut outside = pool("lab", &["1-10"], 0, &[]);
    outside.spec.ranges[0].gateway = "192.0.2.11".into();
    assert_eq!(outside.check().unwrap().total(), 10);
    let mut two = pool("lab", &["10-20"], 0, &[]);
    two.spec.ranges.push(PoolRange { subnet: "198.51.100.0/24".into(), ..PoolRange::default() });
    let two = two.check().unwrap();
    let spans: Vec<String> = two.ranges.iter().map(|range| range.span.to_string()).collect();
    assert_eq!(spans, ["192.0.2.10-192.0.2.20", "198.51.100.1-198.51.100.254"]);
    assert_eq!(two.total(), 11 + 253);
}
