//! The cases A1 and B1 of the reference, with the outcome of our decisions.

use super::*;

/// Subnet, start, end, gateway; then the expected span and gateway, or a part of the error.
type Case = ([&'static str; 4], Result<(&'static str, &'static str), &'static str>);

fn check(raw: [&str; 4]) -> Result<Range, String> {
    let [subnet, range_start, range_end, gateway] = raw.map(str::to_owned);
    let mut problems = Problems::default();
    let range =
        Range::check(&PoolRange { subnet, range_start, range_end, gateway }, "spec.ranges[0]", &mut problems);
    problems.result(()).map_err(|errors| errors[0].to_string())?;
    Ok(range.unwrap())
}

#[test]
fn a1_a_range_is_read_with_its_defaults() {
    let cases: [Case; 25] = [
        (["192.168.100.0", "", "", ""], Err("subnet: not a subnet")),
        (["192.168.100.0/100", "", "", ""], Err("subnet: not a subnet")),
        (["192.168.100.0/33", "", "", ""], Err("subnet: not a subnet")),
        (["192.168.100.0/+24", "", "", ""], Err("subnet: not a subnet")),
        (["", "192.168.0.1", "192.168.0.10", ""], Err("subnet: not a subnet")),
        (["192.168.100.0/24", "", "", ""], Ok(("192.168.100.1-192.168.100.254", "192.168.100.1"))),
        (["192.168.1.77/24", "", "", ""], Ok(("192.168.1.1-192.168.1.254", "192.168.1.1"))),
        (
            ["192.168.100.0/24", "192.168.100.1", "192.168.100.10", "192.168.100.11"],
            Ok(("192.168.100.1-192.168.100.10", "192.168.100.11")),
        ),
        (
            ["192.168.100.0/24", "192.168.100.251", "", ""],
            Ok(("192.168.100.251-192.168.100.254", "192.168.100.1")),
        ),
        (["192.168.100.10/32", "", "", ""], Ok(("192.168.100.10-192.168.100.10", ""))),
        (
            ["192.168.100.10/32", "192.168.100.10", "192.168.100.10", ""],
            Ok(("192.168.100.10-192.168.100.10", "")),
        ),
        (["192.168.100.10/32", "192.168.101.10", "", ""], Err("rangeStart: not in subnet 192.168.100.10/32")),
        (
            ["192.168.100.10/32", "", "", "192.168.100.10"],
            Err("gateway: a subnet of one address has no gateway"),
        ),
        (
            ["192.168.100.0/24", "192.168.100.30", "192.168.100.40", ""],
            Ok(("192.168.100.30-192.168.100.40", "192.168.100.1")),
        ),
        (
            ["192.168.100.0/24", "192.168.100.40", "192.168.100.30", ""],
            Ok(("192.168.100.30-192.168.100.40", "192.168.100.1")),
        ),
        (["192.168.100.0/24", "", "192.168.100.255", ""], Err("rangeEnd: the subnet's broadcast address")),
        (["192.168.100.0/24", "", "", "192.168.100.0"], Err("gateway: the subnet's network address")),
        (["192.168.100.0/24", "", "", "192.168.101.1"], Err("gateway: not in subnet")),
        (["192.168.100.0/24", "first", "", ""], Err("rangeStart: not an IP address")),
        (["192.168.100.0/24", "2001:db8::1", "", ""], Err("rangeStart: not in subnet")),
        (["10.0.0.0/29", "", "", ""], Ok(("10.0.0.1-10.0.0.6", "10.0.0.1"))),
        (["10.0.0.0/30", "", "", ""], Ok(("10.0.0.1-10.0.0.2", "10.0.0.1"))),
        (["10.0.0.4/31", "10.0.0.5", "10.0.0.5", ""], Ok(("10.0.0.5-10.0.0.5", ""))),
        (["10.0.0.4/31", "", "", ""], Ok(("10.0.0.4-10.0.0.5", ""))),
        (["10.0.0.0/24", "10.0.0.1", "10.0.0.1", ""], Err("the only address is the gateway's")),
    ];
    assert_cases(&cases);
}

#[test]
fn a_range_of_ipv6_has_no_broadcast_address_and_may_have_a_router_of_the_link() {
    let cases: [Case; 14] = [
        (["2001:db8::/129", "", "", ""], Err("subnet: not a subnet")),
        (["2001:db8::/64", "", "", ""], Ok(("2001:db8::1-2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1"))),
        (
            ["2001:DB8:0::77/64", "2001:db8::10", "2001:db8::1:0", ""],
            Ok(("2001:db8::10-2001:db8::1:0", "2001:db8::1")),
        ),
        (["2001:db8::/64", "", "", "fe80::1"], Ok(("2001:db8::1-2001:db8::ffff:ffff:ffff:ffff", "fe80::1"))),
        (["2001:db8::/126", "", "", ""], Ok(("2001:db8::1-2001:db8::3", "2001:db8::1"))),
        (["2001:db8::2/127", "", "", ""], Ok(("2001:db8::2-2001:db8::3", ""))),
        (["2001:db8::80/128", "", "", ""], Ok(("2001:db8::80-2001:db8::80", ""))),
        (["2001:db8::/64", "2001:db8::", "", ""], Err("rangeStart: the subnet's network address")),
        (["2001:db8::/64", "192.0.2.1", "", ""], Err("rangeStart: not in subnet 2001:db8::/64")),
        (["2001:db8::/64", "", "", "2001:db8:1::1"], Err("gateway: not in subnet")),
        (["192.168.100.0/24", "", "", "fe80::1"], Err("gateway: not in subnet")),
        (["fe80::/64", "", "", ""], Err("a link-local address")),
        (["ff00::/8", "", "", ""], Err("not an address that a host can have")),
        (["127.0.0.0/8", "", "", ""], Err("not an address that a host can have")),
    ];
    assert_cases(&cases);
}

#[track_caller]
fn assert_cases(cases: &[Case]) {
    for &(raw, expected) in cases {
        match (check(raw), expected) {
            (Ok(range), Ok((span, gateway))) => {
                assert_eq!(range.span.to_string(), span, "{raw:?}");
                assert_eq!(range.gateway.map_or(String::new(), |g| g.to_string()), gateway, "{raw:?}");
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{raw:?}: {error}"),
            (found, expected) => panic!("{raw:?}: {found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn spans_count_and_overlap() {
    let span = |first: &str, last: &str| Span { first: first.parse().unwrap(), last: last.parse().unwrap() };
    assert_eq!(span("10.0.0.0", "10.0.255.255").count(), 65_536);
    assert_eq!(span("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").count(), u128::MAX);
    let ten = span("10.0.0.10", "10.0.0.20");
    assert!(ten.overlaps(span("10.0.0.20", "10.0.0.30")) && ten.overlaps(span("10.0.0.1", "10.0.0.30")));
    assert!(!ten.overlaps(span("10.0.0.21", "10.0.0.30")) && !ten.overlaps(span("::", "::ffff")));
    assert_eq!(span("10.0.0.255", "10.0.1.0").iter().count(), 2);
}

#[test]
fn a_subnet_knows_its_mask() {
    for (subnet, mask) in [
        ("10.0.0.0/24", "255.255.255.0"),
        ("10.0.0.1/32", "255.255.255.255"),
        ("10.0.0.0/0", "0.0.0.0"),
        ("2001:db8::/64", "ffff:ffff:ffff:ffff::"),
        ("2001:db8::/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ] {
        assert_eq!(Subnet::parse(subnet).unwrap().mask().to_string(), mask);
    }
}
