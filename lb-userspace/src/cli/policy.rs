//! Flags of `lb create` that say what clients are granted.

use clap::Args;

use crate::model::load_balancer::LoadBalancerSpec;
use crate::model::policy::{Limits, SourceLimits};

#[derive(Args, Default, Debug)]
pub(super) struct Policy {
    /// Only clients of this range may open flows; repeatable
    #[arg(long = "allow-source", value_name = "CIDR")]
    allowed: Vec<String>,
    /// Clients of this range may not; repeatable
    #[arg(long = "deny-source", value_name = "CIDR")]
    denied: Vec<String>,
    /// New flows a second, of all clients together [default: no limit]
    #[arg(long, value_name = "COUNT")]
    limit_flows: Option<i64>,
    /// Packets a second, of all clients together [default: no limit]
    #[arg(long, value_name = "COUNT")]
    limit_packets: Option<i64>,
    /// New flows a second of each client [default: no limit]
    #[arg(long, value_name = "COUNT")]
    limit_source_flows: Option<i64>,
    /// Packets a second of each client [default: no limit]
    #[arg(long, value_name = "COUNT")]
    limit_source_packets: Option<i64>,
}

impl Policy {
    /// Enters what was asked for.
    pub(super) fn enter(&self, spec: &mut LoadBalancerSpec) {
        spec.load_balancer_source_ranges.clone_from(&self.allowed);
        spec.denied_source_ranges.clone_from(&self.denied);
        let per_source = SourceLimits {
            new_flows_per_second: self.limit_source_flows.unwrap_or_default(),
            packets_per_second: self.limit_source_packets.unwrap_or_default(),
        };
        let limits = Limits {
            new_flows_per_second: self.limit_flows.unwrap_or_default(),
            packets_per_second: self.limit_packets.unwrap_or_default(),
            per_source: Some(per_source).filter(|limits| *limits != SourceLimits::default()),
        };
        spec.limits = Some(limits).filter(|limits| *limits != Limits::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_fields_and_what_is_not_asked_for_none() {
        let mut spec = LoadBalancerSpec::default();
        Policy::default().enter(&mut spec);
        assert_eq!(spec, LoadBalancerSpec::default());
        let flags = Policy {
            denied: vec!["198.51.100.0/24".into()],
            limit_source_flows: Some(20),
            ..Policy::default()
        };
        flags.enter(&mut spec);
        let per_source = SourceLimits { new_flows_per_second: 20, packets_per_second: 0 };
        assert_eq!(spec.denied_source_ranges, ["198.51.100.0/24"]);
        assert_eq!(spec.limits, Some(Limits { per_source: Some(per_source), ..Limits::default() }));
    }
}
