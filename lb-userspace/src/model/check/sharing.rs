//! An address that several load balancers have: what one of them may say that has it of another (decision D26).

use std::fmt::Debug;

use super::words::{Ipam, Workload};
use crate::model::field::Problems;
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::NamespacedName;
use crate::model::names;

const FIELD: &str = "spec.shareAddressWith";

/// The load balancer whose address it has; everything about that address is for the other one to say.
pub(super) fn check(
    lb: &LoadBalancer,
    workload: Workload,
    ipam: Ipam,
    problems: &mut Problems,
) -> Option<NamespacedName> {
    let owner = lb.shares_address_of()?;
    let spec = &lb.spec;
    let name = &spec.share_address_with;
    if let Err(rule) = names::service(name) {
        problems.add(FIELD, name, "not a load balancer's name", rule.to_string());
    } else if *name == lb.metadata.name {
        problems.add(FIELD, name, "is this load balancer itself", "name another one, or leave it out");
    }
    if workload == Workload::Cluster {
        problems.add(FIELD, name, "a guest cluster has its own address", "leave it out");
    } else if ipam == Ipam::Dhcp {
        problems.add(FIELD, name, "an address by DHCP is not shared", "leave it out, or use ipam: pool");
    }
    let said: [(&str, bool, &dyn Debug); 5] = [
        ("spec.ipPool", !spec.ip_pool.is_empty(), &spec.ip_pool),
        ("spec.address", !spec.address.is_empty(), &spec.address),
        (
            "spec.loadBalancerSourceRanges",
            !spec.load_balancer_source_ranges.is_empty(),
            &spec.load_balancer_source_ranges,
        ),
        ("spec.deniedSourceRanges", !spec.denied_source_ranges.is_empty(), &spec.denied_source_ranges),
        ("spec.limits", spec.limits.is_some(), &spec.limits),
    ];
    for (field, _, value) in said.into_iter().filter(|(_, is_said, _)| *is_said) {
        let problem = format!("{name} says it, whose address this load balancer shares");
        problems.add(field, value, problem, format!("leave it out here, and set it on {name}"));
    }
    Some(owner)
}
