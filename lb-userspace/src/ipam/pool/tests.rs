//! The cases B2 to B4 of the reference, with the outcome of our decisions, and what holds whatever happens.

use proptest::prelude::*;

use super::*;
use crate::model::ip_pool::{IpPool, PoolRange};

/// Of ranges written `subnet start end gateway`, a hyphen for the default.
fn pool(ranges: &[&str]) -> CheckedPool {
    let mut pool = IpPool::new("lab");
    for range in ranges {
        let mut fields = range.split(' ').map(|field| field.trim_matches('-').to_owned());
        let mut field = || fields.next().unwrap_or_default();
        let (subnet, range_start, range_end, gateway) = (field(), field(), field(), field());
        pool.spec.ranges.push(PoolRange { subnet, range_start, range_end, gateway });
    }
    pool.check().unwrap()
}

fn owner(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

/// A pool and its status, driven step by step.
struct Trace {
    pool: CheckedPool,
    status: IpPoolStatus,
}

impl Trace {
    fn new(ranges: &[&str]) -> Self {
        Self { pool: pool(ranges), status: IpPoolStatus::default() }
    }

    #[track_caller]
    fn asks(&mut self, name: &str, expected: &str) {
        let (address, status) = allocate(&self.pool, &self.status, &owner(name), None, &Lent::new()).unwrap();
        assert_eq!(address.to_string(), expected, "{name}");
        self.status = status;
    }

    #[track_caller]
    fn exhausted(&self, name: &str) {
        let result = allocate(&self.pool, &self.status, &owner(name), None, &Lent::new());
        assert!(matches!(result, Err(AllocateAddress::Exhausted { .. })), "{result:?}");
    }

    fn releases(&mut self, name: &str) {
        self.status = release(&self.pool, &self.status, &owner(name));
    }
}

#[test]
fn b2_addresses_go_round_and_stick_to_their_owner() {
    let mut trace = Trace::new(&["10.0.0.0/29"]);
    for (name, address) in [("a", "10.0.0.2"), ("b", "10.0.0.3"), ("c", "10.0.0.4")] {
        trace.asks(name, address);
    }
    trace.releases("b");
    assert_eq!(trace.status.allocated_history, [("10.0.0.3".to_owned(), "shop/b".to_owned())].into());
    assert_eq!((trace.status.total, trace.status.available), (5, 3));
    trace.asks("d", "10.0.0.5");
    trace.asks("b", "10.0.0.3");
    trace.asks("e", "10.0.0.6");
    trace.exhausted("f");
    trace.releases("a");
    trace.asks("g", "10.0.0.2");
    assert!(trace.status.allocated_history.is_empty());
    trace.exhausted("a");
    trace.releases("d");
    trace.asks("a", "10.0.0.5");
    let before = trace.status.clone();
    trace.releases("unknown");
    assert_eq!(trace.status, before);
    trace.asks("a", "10.0.0.5");
    assert_eq!(trace.status, before, "asking twice changes nothing");
}

#[test]
fn b3_ranges_are_walked_in_listed_order_without_their_gateways() {
    let mut trace =
        Trace::new(&["10.0.0.0/24 10.0.0.10 10.0.0.12 10.0.0.11", "10.0.1.0/24 10.0.1.5 10.0.1.6"]);
    trace.asks("a", "10.0.0.10");
    trace.asks("b", "10.0.0.12");
    trace.asks("c", "10.0.1.5");
    trace.releases("b");
    trace.asks("d", "10.0.1.6");
    trace.asks("e", "10.0.0.12");
    trace.exhausted("f");
    assert_eq!((trace.status.total, trace.status.available), (4, 0));
}

#[test]
fn a_subnet_of_ipv6_gives_its_hosts_however_many_there_are() {
    let mut trace = Trace::new(&["2001:db8::/64"]);
    trace.asks("a", "2001:db8::2");
    trace.asks("b", "2001:db8::3");
    trace.releases("a");
    trace.asks("c", "2001:db8::4");
    trace.asks("a", "2001:db8::2");
    assert_eq!((trace.status.total, trace.status.available), (i64::MAX, i64::MAX - 3));
    trace.status.last_allocated = "2001:db8::ffff:ffff:ffff:ffff".into();
    trace.asks("d", "2001:db8::5");
    let mut whole = Trace::new(&["2001:db8::/32"]);
    whole.asks("a", "2001:db8::2");
}

#[test]
fn a_short_range_of_ipv6_is_exhausted_and_begun_anew() {
    let mut trace = Trace::new(&["2001:db8::/64 2001:db8::fffe 2001:db8::1:1 2001:db8::1:0"]);
    trace.asks("a", "2001:db8::fffe");
    trace.asks("b", "2001:db8::ffff");
    trace.asks("c", "2001:db8::1:1");
    trace.exhausted("d");
    trace.releases("b");
    trace.asks("d", "2001:db8::ffff");
    assert_eq!((trace.status.total, trace.status.available), (3, 0));
}

#[test]
fn an_address_of_ipv6_is_the_same_however_it_is_written() {
    let mut trace = Trace::new(&["2001:db8::/64"]);
    trace.status.allocated = [("2001:0DB8:0:0::0002".to_owned(), "shop/a".to_owned())].into();
    let requested = Some("2001:db8::2".parse().unwrap());
    let taken = allocate(&trace.pool, &trace.status, &owner("b"), requested, &Lent::new());
    assert!(matches!(taken, Err(AllocateAddress::Taken { owner, .. }) if owner == "shop/a"));
    trace.asks("a", "2001:db8::2");
    trace.asks("b", "2001:db8::3");
    assert_eq!(trace.status.allocated.keys().collect::<Vec<_>>(), ["2001:db8::2", "2001:db8::3"]);
}

#[test]
fn b4_a_pool_of_one_address_serves_one_after_the_other() {
    let mut trace = Trace::new(&["10.0.0.1/32"]);
    trace.asks("a", "10.0.0.1");
    trace.exhausted("b");
    trace.releases("a");
    trace.asks("b", "10.0.0.1");
}

#[test]
fn b4_the_search_starts_anew_where_the_cursor_means_nothing() {
    for last in ["", "text", "192.0.2.1", "10.0.0.6", "2001:db8::1"] {
        let mut trace = Trace::new(&["10.0.0.0/29"]);
        trace.status.last_allocated = last.into();
        trace.asks("a", "10.0.0.2");
    }
}

#[test]
fn entries_that_no_longer_fit_are_dropped() {
    let mut trace = Trace::new(&["10.0.0.0/29"]);
    for history in ["10.0.0.1", "192.0.2.1", "text"] {
        trace.status.allocated_history = [(history.to_owned(), "shop/a".to_owned())].into();
        trace.status.allocated = [(history.to_owned(), "shop/a".to_owned())].into();
        trace.status.last_allocated.clear();
        trace.asks("a", "10.0.0.2");
        assert!(trace.status.allocated_history.is_empty());
        assert_eq!(trace.status.available, 4);
    }
}

#[test]
fn a_requested_address_is_given_or_the_reason_why_not() {
    let mut trace = Trace::new(&["10.0.0.0/29"]);
    trace.asks("a", "10.0.0.2");
    let ask = |status: &IpPoolStatus, name: &str, address: &str| {
        allocate(&trace.pool, status, &owner(name), Some(address.parse().unwrap()), &Lent::new())
    };
    let (_, with_b) = ask(&trace.status, "b", "10.0.0.5").unwrap();
    assert_eq!(with_b.allocated["10.0.0.5"], "shop/b");
    assert_eq!(ask(&with_b, "b", "10.0.0.5").unwrap().1, with_b);
    assert!(
        matches!(ask(&with_b, "b", "10.0.0.2"), Err(AllocateAddress::Taken { owner, .. }) if owner == "shop/a")
    );
    for outside in ["10.0.0.1", "10.0.0.7", "192.0.2.1"] {
        assert!(matches!(ask(&with_b, "c", outside), Err(AllocateAddress::NotInPool { .. })), "{outside}");
    }
    let (_, moved) = ask(&with_b, "b", "10.0.0.6").unwrap();
    assert_eq!((moved.allocated.len(), moved.available), (2, 3));
    assert_eq!(moved.allocated_history, [("10.0.0.5".to_owned(), "shop/b".to_owned())].into());
}

/// A pool gave an address that a DHCP server had lent to another load balancer: two answered for it.
#[test]
fn a_lent_address_is_given_to_nobody_until_it_is_given_back() {
    let trace = Trace::new(&["10.0.0.0/29"]);
    let lent: Lent = [(IpAddr::from([10, 0, 0, 2]), owner("leased"))].into();
    let mut status = trace.status.clone();
    status.allocated_history = [("10.0.0.2".to_owned(), "shop/a".to_owned())].into();
    let ask = |status: &IpPoolStatus, requested, lent: &Lent| {
        allocate(&trace.pool, status, &owner("a"), requested, lent).map(|(address, _)| address.to_string())
    };
    assert_eq!(ask(&status, None, &lent), Ok("10.0.0.3".to_owned()), "neither by history nor in its turn");
    let taken = ask(&status, Some([10, 0, 0, 2].into()), &lent);
    assert!(matches!(taken, Err(AllocateAddress::Taken { owner, .. }) if owner == "shop/leased"));
    assert_eq!(ask(&status, None, &Lent::new()), Ok("10.0.0.2".to_owned()), "given back");
    status.allocated = [("10.0.0.2".to_owned(), "shop/a".to_owned())].into();
    assert_eq!(ask(&status, None, &lent), Ok("10.0.0.2".to_owned()), "what it has it keeps");
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8),
    Request(u8, u8),
    Release(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..12_u8).prop_map(Step::Ask),
        (0..12_u8, 0..32_u8).prop_map(|(name, host)| Step::Request(name, host)),
        (0..12_u8).prop_map(Step::Release),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_each_address_has_one_owner_and_asking_twice_changes_nothing(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let pool = pool(&["10.0.0.0/24 10.0.0.4 10.0.0.8 10.0.0.6", "10.0.0.0/24 10.0.0.20 10.0.0.23"]);
        let mut status = IpPoolStatus::default();
        for step in steps {
            match step {
                Step::Ask(name) | Step::Request(name, _) => {
                    let owner = owner(&format!("lb-{name}"));
                    let requested = match step {
                        Step::Request(_, host) => Some(IpAddr::from([10, 0, 0, host])),
                        Step::Ask(_) | Step::Release(_) => None,
                    };
                    let Ok((address, after)) = allocate(&pool, &status, &owner, requested, &Lent::new()) else { continue };
                    prop_assert!(pool.range_of(address).is_some() && !pool.is_gateway(address));
                    prop_assert!(requested.is_none_or(|requested| requested == address));
                    let (again, same) = allocate(&pool, &after, &owner, None, &Lent::new()).unwrap();
                    prop_assert_eq!((again, &same), (address, &after));
                    status = after;
                }
                Step::Release(name) => status = release(&pool, &status, &owner(&format!("lb-{name}"))),
            }
            let owners: BTreeSet<&String> = status.allocated.values().collect();
            prop_assert_eq!(owners.len(), status.allocated.len(), "an owner has one address");
            prop_assert_eq!(status.available, 8 - i64::try_from(status.allocated.len()).unwrap());
            prop_assert!(status.allocated_history.keys().all(|had| !status.allocated.contains_key(had)));
        }
    }
}

#[test]
fn an_exhausted_pool_says_so_in_harvesters_words() {
    let error = AllocateAddress::Exhausted { pool: "lab".into(), spans: "a-b,c-d".into() };
    let words = "fail to get ip from pool lab: no IP addresses available in range set: a-b,c-d; add a range";
    assert!(error.to_string().starts_with(words), "{error}");
}
