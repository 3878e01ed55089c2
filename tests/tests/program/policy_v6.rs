//! Who may dial a listener of IPv6, and how much.

use std::time::Instant;

use lb_common::net::{Ipv6, Protocol};
use lb_common::policy::{ALLOWED, DENIED, LimitsValue, Rate};
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{opened, reason, refused};
use lb_tests::packet::Packet;
use lb_tests::program::Verdict::Pass;
use lb_tests::program::{Given, Rig, UNLIMITED, listener};

use crate::scene::{CLIENT_MAC, SERVER_MAC};
use crate::v6::{CLIENT, SERVER, WEB, address, bridge, query, syn};

const BALANCER: u32 = 3;
const EVERYBODY: (Ipv6, u32) = (Ipv6::new([0; 16]), 0);

fn filtered() -> Given {
    bridge().listener_v6(listener(WEB, Protocol::Tcp).served_by(&[1]).filtered(BALANCER))
}

fn at_server(sent: &Packet<Ipv6>) -> Packet<Ipv6> {
    sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER)
}

#[test]
fn a_client_of_ipv6_in_a_denied_range_is_dropped_by_name() {
    filtered().source_v6(BALANCER, (address(1, 0), 64), DENIED).at_ingress(|rig| {
        rig.when(&syn()).then_dropped();
        assert_delta!(rig, refused(0), reason(Reason::SourceDenied));
        // The other listener does not look.
        rig.when(&query()).then_is(Pass);
        rig.delta();
        let other = syn().from((address(4, 10), 1234));
        rig.when(&other).then(Pass, &at_server(&other));
    });
}

#[test]
fn of_two_ranges_of_ipv6_the_longer_prefix_decides() {
    let given = filtered()
        .source_v6(BALANCER, EVERYBODY, DENIED)
        .source_v6(BALANCER, (address(1, 0), 124), ALLOWED)
        .source_v6(BALANCER, (CLIENT.0, 128), DENIED)
        // Another load balancer's ranges are its own.
        .source_v6(BALANCER + 1, EVERYBODY, ALLOWED);
    given.at_ingress(|rig| {
        rig.when(&syn()).then_dropped();
        rig.when(&syn().from((address(1, 16), CLIENT.1))).then_dropped();
        assert_delta!(rig, refused(0).times(2), reason(Reason::SourceDenied).times(2));
        let neighbour = syn().from((address(1, 11), CLIENT.1));
        rig.when(&neighbour).then(Pass, &at_server(&neighbour));
        assert_delta!(rig, opened(1), lb_tests::counters::forwarded(1, &neighbour));
    });
}

/// How many of `packets` pass, and how long it took to try.
fn passing(rig: &mut Rig, packets: impl Iterator<Item = Packet<Ipv6>>) -> (u64, f64) {
    let started = Instant::now();
    let passed = packets.filter(|packet| rig.when(packet).is(Pass)).count() as u64;
    // The programs' clock is some milliseconds coarse.
    (passed, started.elapsed().as_secs_f64() + 0.02)
}

#[test]
fn new_flows_of_a_network_of_ipv6_are_limited_and_those_of_others_are_not() {
    let limits = LimitsValue { source_flows: Rate::new(50), ..UNLIMITED };
    let limited = listener(WEB, Protocol::Tcp).served_by(&[1]).limited(BALANCER);
    let connections =
        |client: Ipv6, count: u16| (0..count).map(move |port| syn().from((client, 1024 + port)));
    bridge().buckets(1024).listener_v6(limited).limits(BALANCER, limits).at_ingress(|rig| {
        // Whoever has a network of 64 bits has addresses without end: it is one client.
        let both = connections(CLIENT.0, 250).chain(connections(address(1, 77), 250));
        let (passed, seconds) = passing(rig, both);
        let earned = 50 + (50.0 * seconds) as u64;
        assert!((50..=earned).contains(&passed), "{passed} of 500 in {seconds} s");
        assert_eq!(rig.delta().of(Reason::SourceLimited), 500 - passed);
        let (passed, _) = passing(rig, connections(address(4, 10), 50));
        assert_eq!(passed, 50, "another client has a burst of its own");
    });
}
