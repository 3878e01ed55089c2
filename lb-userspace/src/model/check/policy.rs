//! Source ranges and limits: as written → checked.

use std::collections::BTreeMap;

use lb_common::policy::Rate;

use crate::model::field::Problems;
use crate::model::load_balancer::LoadBalancerSpec;
use crate::model::policy::{Limits, SourceLimits};
use crate::model::range::Subnet;

/// Source ranges that one load balancer may have.
const MAX_SOURCES: usize = 1024;

/// What a load balancer grants its clients.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CheckedPolicy {
    /// Which clients may open flows; the longest range that a client is in decides.
    pub sources: BTreeMap<Subnet, Source>,
    /// How much.
    pub limits: CheckedLimits,
}

/// Whether clients of a range may open flows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// They may.
    Allowed,
    /// They may not.
    Denied,
}

/// Limits a second; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CheckedLimits {
    /// New flows of all clients together.
    pub flows: u32,
    /// Packets from all clients together.
    pub packets: u32,
    /// New flows of each client.
    pub source_flows: u32,
    /// Packets from each client.
    pub source_packets: u32,
}

impl CheckedLimits {
    /// New flows are limited.
    pub const fn limits_flows(self) -> bool {
        self.flows != 0 || self.source_flows != 0
    }

    /// Packets are limited.
    pub const fn limits_packets(self) -> bool {
        self.packets != 0 || self.source_packets != 0
    }
}

pub(super) fn check(spec: &LoadBalancerSpec, problems: &mut Problems) -> CheckedPolicy {
    let mut sources = BTreeMap::new();
    for (field, texts, source) in [
        ("spec.loadBalancerSourceRanges", &spec.load_balancer_source_ranges, Source::Allowed),
        ("spec.deniedSourceRanges", &spec.denied_source_ranges, Source::Denied),
    ] {
        if texts.len() > MAX_SOURCES {
            let remedy = format!("use {MAX_SOURCES} at most, in wider ranges");
            problems.add(field, texts.len(), "too many source ranges", remedy);
            continue;
        }
        for (index, text) in texts.iter().enumerate() {
            let path = format!("{field}[{index}]");
            let Some(subnet) = Subnet::parse(text) else {
                problems.add(path, text, "not a range", "use CIDR notation such as 192.0.2.0/24");
                continue;
            };
            match sources.insert(subnet, source) {
                None => {}
                Some(before) if before == source => {
                    problems.add(path, text, "named twice", "remove one of the two");
                }
                Some(_) => {
                    let problem = "allowed and denied at once";
                    problems.add(path, text, problem, "remove it from one of the two lists");
                }
            }
        }
    }
    CheckedPolicy { sources, limits: check_limits(spec.limits.as_ref(), problems) }
}

fn check_limits(raw: Option<&Limits>, problems: &mut Problems) -> CheckedLimits {
    let Some(Limits { new_flows_per_second, packets_per_second, per_source }) = raw else {
        return CheckedLimits::default();
    };
    let mut limit = |field: &str, number: i64| {
        let limit = u32::try_from(number).ok().filter(|number| *number <= Rate::MAX_PER_SECOND);
        limit.unwrap_or_else(|| {
            let remedy = format!("use 1 to {}, or leave it out", Rate::MAX_PER_SECOND);
            problems.add(format!("spec.limits.{field}"), number, "out of range", remedy);
            0
        })
    };
    let (flows, packets) =
        (limit("newFlowsPerSecond", *new_flows_per_second), limit("packetsPerSecond", *packets_per_second));
    let SourceLimits { new_flows_per_second, packets_per_second } = per_source.clone().unwrap_or_default();
    CheckedLimits {
        flows,
        packets,
        source_flows: limit("perSource.newFlowsPerSecond", new_flows_per_second),
        source_packets: limit("perSource.packetsPerSecond", packets_per_second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(spec: &LoadBalancerSpec) -> Result<CheckedPolicy, Vec<String>> {
        let mut problems = Problems::default();
        let policy = check(spec, &mut problems);
        let shown = |errors: Vec<crate::model::field::FieldError>| {
            errors.iter().map(|error| format!("{}: {}", error.path, error.problem)).collect()
        };
        problems.result(policy).map_err(shown)
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn ranges_of_both_families_are_allowed_and_denied() {
        let spec = LoadBalancerSpec {
            load_balancer_source_ranges: texts(&["198.51.100.0/24", "2001:db8::/32"]),
            denied_source_ranges: texts(&["198.51.100.9/32"]),
            ..LoadBalancerSpec::default()
        };
        let range = |text| Subnet::parse(text).unwrap();
        let expected = [
            (range("198.51.100.0/24"), Source::Allowed),
            (range("198.51.100.9/32"), Source::Denied),
            (range("2001:db8::/32"), Source::Allowed),
        ];
        assert_eq!(checked(&spec).unwrap().sources, expected.into());
    }

    #[test]
    fn a_wrong_or_repeated_range_is_refused_by_field() {
        let spec = LoadBalancerSpec {
            load_balancer_source_ranges: texts(&["198.51.100.0/24", "198.51.100.7", "198.51.100.1/24"]),
            denied_source_ranges: texts(&["198.51.100.0/24"]),
            ..LoadBalancerSpec::default()
        };
        assert_eq!(
            checked(&spec).unwrap_err(),
            [
                "spec.loadBalancerSourceRanges[1]: not a range",
                "spec.loadBalancerSourceRanges[2]: named twice",
                "spec.deniedSourceRanges[0]: allowed and denied at once",
            ]
        );
    }

    #[test]
    fn limits_out_of_range_are_refused_by_field() {
        let per_source = SourceLimits { new_flows_per_second: 20, packets_per_second: 10_000_001 };
        let limits =
            Limits { new_flows_per_second: -1, packets_per_second: 5000, per_source: Some(per_source) };
        let spec = LoadBalancerSpec { limits: Some(limits), ..LoadBalancerSpec::default() };
        assert_eq!(
            checked(&spec).unwrap_err(),
            [
                "spec.limits.newFlowsPerSecond: out of range",
                "spec.limits.perSource.packetsPerSecond: out of range",
            ]
        );
    }

    #[test]
    fn limits_that_are_left_out_are_none() {
        let limits = Limits { new_flows_per_second: 7, ..Limits::default() };
        let spec = LoadBalancerSpec { limits: Some(limits), ..LoadBalancerSpec::default() };
        let limits = checked(&spec).unwrap().limits;
        assert_eq!(limits, CheckedLimits { flows: 7, ..CheckedLimits::default() });
        assert!(limits.limits_flows() && !limits.limits_packets());
    }
}
