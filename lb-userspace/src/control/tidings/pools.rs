//! What has become of pools.

use super::{Tiding, tiding};
use crate::control::admission::RELEASED;
use crate::model::ip_pool::IpPool;
use crate::model::meta::Condition;

/// What has changed for those who look after a pool.
pub fn pool_tidings(before: Option<&IpPool>, after: &IpPool) -> Vec<Tiding> {
    let mut all = Vec::new();
    if let Some(before) = before {
        ranges(before, after, &mut all);
    }
    released(before, after, &mut all);
    room(before, after, &mut all);
    all
}

fn ranges(before: &IpPool, after: &IpPool, all: &mut Vec<Tiding>) {
    if before.spec.ranges == after.spec.ranges {
        return;
    }
    let spans = |pool: &IpPool| -> Option<String> {
        let checked = pool.check_spec().ok()?;
        Some(checked.ranges.iter().map(|range| range.span.to_string()).collect::<Vec<_>>().join(", "))
    };
    let (old, new) = (spans(before).unwrap_or_default(), spans(after).unwrap_or_default());
    let counts = format!("{} of {} addresses are free", after.status.available, after.status.total);
    let message = if old == new {
        format!("{new}, with other gateways or subnets")
    } else {
        format!("{old}, now {new}")
    };
    all.push(tiding(false, "RangesChanged", format!("{message}: {counts}")));
}

/// What became of a request to free an address.
fn released(before: Option<&IpPool>, after: &IpPool, all: &mut Vec<Tiding>) {
    let of = |pool: &IpPool| -> Option<Condition> {
        pool.status.conditions.iter().find(|condition| condition.kind == RELEASED).cloned()
    };
    let Some(new) = of(after) else { return };
    if before.and_then(of).as_ref() != Some(&new) {
        let reason = if new.status == "True" { "AddressReleased" } else { "AddressNotReleased" };
        all.push(tiding(new.status != "True", reason, new.message));
    }
}

/// The last address was given, or one is free again.
fn room(before: Option<&IpPool>, after: &IpPool, all: &mut Vec<Tiding>) {
    let is_full = |pool: &IpPool| pool.status.total > 0 && pool.status.available <= 0;
    let total = after.status.total;
    match (before.is_some_and(is_full), is_full(after)) {
        (false, true) => {
            let remedy = "add a range, or delete a load balancer";
            all.push(tiding(true, "PoolExhausted", format!("all {total} addresses are given: {remedy}")));
        }
        (true, false) => {
            let free = after.status.available;
            all.push(tiding(
                false,
                "AddressesAvailable",
                format!("{free} of {total} addresses are free again"),
            ));
        }
        (true, true) | (false, false) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ip_pool::PoolRange;

    fn pool(last: u8, available: i64) -> IpPool {
        let mut pool = IpPool::new("lab");
        let (range_start, range_end) = ("192.0.2.80".to_owned(), format!("192.0.2.{last}"));
        pool.spec.ranges =
            vec![PoolRange { subnet: "192.0.2.0/24".into(), range_start, range_end, gateway: String::new() }];
        (pool.status.total, pool.status.available) = (i64::from(last) - 79, available);
        pool
    }

    fn told(before: Option<&IpPool>, after: &IpPool) -> Vec<String> {
        let word = |tiding: &Tiding| if tiding.warning { "Warning" } else { "Normal" };
        let line = |tiding: Tiding| format!("{} {}: {}", word(&tiding), tiding.reason, tiding.message);
        pool_tidings(before, after).into_iter().map(line).collect()
    }

    #[test]
    fn a_pool_that_is_full_or_has_room_again_is_told_once() {
        let (empty, full) = (pool(81, 1), pool(81, 0));
        assert_eq!(told(None, &empty), [""; 0]);
        let exhausted =
            "Warning PoolExhausted: all 2 addresses are given: add a range, or delete a load balancer";
        assert_eq!(told(Some(&empty), &full), [exhausted]);
        assert_eq!(told(Some(&full), &full), [""; 0]);
        assert_eq!(told(Some(&full), &empty), ["Normal AddressesAvailable: 1 of 2 addresses are free again"]);
    }

    #[test]
    fn ranges_that_change_are_told_with_what_is_free() {
        let line = "Normal RangesChanged: 192.0.2.80-192.0.2.81, now 192.0.2.80-192.0.2.89: 9 of 10 addresses are free";
        assert_eq!(told(Some(&pool(81, 1)), &pool(89, 9)), [line]);
        let mut moved = pool(81, 1);
        moved.spec.ranges[0].gateway = "192.0.2.254".into();
        let line = "Normal RangesChanged: 192.0.2.80-192.0.2.81, with other gateways or subnets: 1 of 2 addresses are free";
        assert_eq!(told(Some(&pool(81, 1)), &moved), [line]);
    }

    #[test]
    fn what_becomes_of_a_request_to_free_an_address_is_told() {
        let before = pool(81, 1);
        let mut after = before.clone();
        for (status, line) in [
            ("True", "Normal AddressReleased: 192.0.2.80 of shop/ghost"),
            ("False", "Warning AddressNotReleased: 192.0.2.80 of shop/ghost"),
        ] {
            after.status.conditions = vec![Condition {
                kind: RELEASED.into(),
                status: status.into(),
                message: "192.0.2.80 of shop/ghost".into(),
                ..Condition::default()
            }];
            assert_eq!(told(Some(&before), &after), [line]);
            assert_eq!(told(Some(&after), &after), [""; 0]);
        }
    }
}
