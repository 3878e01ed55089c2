//! Programs serve one test after another; none finds anything of the one before.

use lb_common::net::{Ipv4, Protocol};
use lb_common::policy::{ALLOWED, LimitsValue, Rate};
use lb_tests::program::{Given, Hook, UNLIMITED, given, listener};

use crate::scene::*;

/// A flow table of a size that no other test has, so that used programs are those of this test.
const BUCKETS: u32 = 128;
const BALANCER: u32 = 3;

/// Packets write to every map that they can.
fn eventful() -> Given {
    let web = listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(&[WEB_BACKEND]).affinity(300);
    let limits = LimitsValue { source_flows: Rate::new(100), flows: Rate::new(100), ..UNLIMITED };
    stick()
        .buckets(BUCKETS)
        .listener(web.filtered(BALANCER).limited(BALANCER))
        .source(BALANCER, (Ipv4([198, 51, 100, 0]), 24), ALLOWED)
        .limits(BALANCER, limits)
        .new_flows(1000)
}

#[test]
fn programs_that_served_a_test_come_to_the_next_with_empty_maps() {
    eventful().at(Hook::Xdp, |rig| {
        let _ = rig.when(&syn());
        let _ = rig.when(&query().identification(9).fragment(0, true));
        let _ = rig.when(&query().to((VIP, 81)));
        let filled = rig.filled();
        for name in ["FLOWS_V4", "FRAGMENTS_V4", "AFFINITY_V4", "NEXT_HOPS", "SOURCES_SPENT_V4", "SPENT"] {
            assert!(
                filled.contains(&name.to_owned()),
                "{name} is still empty, only these are not: {filled:?}"
            );
        }
    });
    given().buckets(BUCKETS).at(Hook::Xdp, |rig| {
        assert_eq!(rig.filled(), ["CONFIG"]);
    });
}
