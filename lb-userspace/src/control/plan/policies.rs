//! Source ranges and limits: which index a load balancer has, and what differs.
//!
//! A load balancer is known by its VIP, as the datapath knows nothing else of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::map::MAX_BALANCERS;

use crate::control::model::Desired;
use crate::datapath::model::{
    BalancerIndex, CheckedLimits, Command, ListenerAddress, Observed, Source, Subnet, Terms,
};
use crate::model::check::CheckedPolicy;

/// Indices of load balancers, and what is to be kept under them.
#[derive(Debug)]
pub(super) struct Policies<'a> {
    desired: &'a Desired,
    kept: BTreeMap<IpAddr, BalancerIndex>,
    used: BTreeSet<BalancerIndex>,
}

impl<'a> Policies<'a> {
    pub(super) fn new(desired: &'a Desired, observed: &Observed) -> Self {
        let mut used = BTreeSet::new();
        let mut kept = BTreeMap::new();
        for (address, entry) in &observed.listeners {
            let index = entry.terms.balancer;
            if !kept.contains_key(&address.vip) && used.insert(index) {
                kept.insert(address.vip, index);
            }
        }
        // What is left of a load balancer that has gone rests until it has gone, too.
        used.extend(observed.sources.keys().map(|(index, _)| *index));
        used.extend(observed.limits.keys());
        Self { desired, kept, used }
    }

    /// On what terms flows to a listener are opened; `None` when there is no room for its load balancer.
    pub(super) fn terms(&mut self, listener: ListenerAddress, strict: bool) -> Option<Terms> {
        let balancer = self.index(listener.vip)?;
        let Some(policy) = self.desired.policies.get(&listener.vip) else {
            return Some(Terms { balancer, strict, ..Terms::default() });
        };
        let filtered = !sources(listener.vip, policy).is_empty();
        Some(Terms { balancer, filtered, limited: policy.limits.limits_flows(), strict })
    }

    /// Whose limits of packets hold for a backend of this VIP.
    pub(super) fn limited_by(&self, vip: IpAddr) -> Option<BalancerIndex> {
        let policy = self.desired.policies.get(&vip).filter(|policy| policy.limits.limits_packets());
        policy.and_then(|_| self.kept.get(&vip).copied())
    }

    fn index(&mut self, vip: IpAddr) -> Option<BalancerIndex> {
        if let Some(index) = self.kept.get(&vip) {
            return Some(*index);
        }
        let all = u16::try_from(MAX_BALANCERS).unwrap_or(u16::MAX);
        let index = (0..all).map(BalancerIndex).find(|index| !self.used.contains(index))?;
        self.used.insert(index);
        self.kept.insert(vip, index);
        Some(index)
    }

    /// What must be entered before listeners look at it, and what may go once none looks at it.
    pub(super) fn changes(&self, observed: &Observed) -> (Vec<Command>, Vec<Command>) {
        let mut wanted_sources = BTreeMap::new();
        let mut wanted_limits = BTreeMap::new();
        for (vip, policy) in &self.desired.policies {
            let Some(&index) = self.kept.get(vip) else { continue };
            let sources = sources(*vip, policy).into_iter();
            wanted_sources.extend(sources.map(|(range, source)| ((index, range), source)));
            if policy.limits != CheckedLimits::default() {
                wanted_limits.insert(index, policy.limits);
            }
        }
        let mut enter: Vec<_> =
            wanted_sources.iter().filter(|(key, source)| observed.sources.get(key) != Some(source)).collect();
        // The range that denies all others comes after those that it would deny.
        enter.sort_by_key(|((index, range), _)| (*index, u8::MAX - range.prefix()));
        let mut leave: Vec<_> =
            observed.sources.keys().filter(|key| !wanted_sources.contains_key(key)).collect();
        leave.sort_by_key(|(index, range)| (*index, range.prefix()));

        let limits =
            wanted_limits.iter().filter(|(index, limits)| observed.limits.get(index) != Some(limits));
        let before =
            enter.into_iter().map(|(&(index, range), &source)| Command::PutSource(index, range, source));
        let before = before.chain(limits.map(|(index, limits)| Command::PutLimits(*index, *limits)));
        let unlimited = observed.limits.keys().filter(|index| !wanted_limits.contains_key(index));
        let after = leave.into_iter().map(|&(index, range)| Command::RemoveSource(index, range));
        let after = after.chain(unlimited.map(|index| Command::PutLimits(*index, CheckedLimits::default())));
        (before.collect(), after.collect())
    }
}

/// The ranges of a VIP's family. Where any is allowed, all others are denied.
fn sources(vip: IpAddr, policy: &CheckedPolicy) -> BTreeMap<Subnet, Source> {
    let of_family = policy.sources.iter().filter(|(range, _)| range.network().is_ipv4() == vip.is_ipv4());
    let mut sources: BTreeMap<_, _> = of_family.map(|(range, source)| (*range, *source)).collect();
    if policy.sources.values().any(|source| *source == Source::Allowed)
        && let Some(everybody) = Subnet::new(vip, 0)
    {
        sources.entry(everybody).or_insert(Source::Denied);
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::DesiredListener;
    use crate::control::plan::{Capacity, Planner};
    use crate::datapath::Datapath;
    use crate::datapath::memory::Memory;
    use crate::datapath::model::Protocol;

    fn range(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    fn policy(allowed: &[&str], denied: &[&str], flows: u32) -> CheckedPolicy {
        let allowed = allowed.iter().map(|text| (range(text), Source::Allowed));
        let denied = denied.iter().map(|text| (range(text), Source::Denied));
        let limits = CheckedLimits { flows, ..CheckedLimits::default() };
        CheckedPolicy { sources: allowed.chain(denied).collect(), limits }
    }

    /// Load balancers with one listener each, by the last byte of their VIPs.
    fn desired(policies: &[(u8, CheckedPolicy)]) -> Desired {
        let vip = |last: u8| IpAddr::from([203, 0, 113, last]);
        let listener = |last| ListenerAddress::new(vip(last), 80, Protocol::Tcp);
        let entry = || DesiredListener { slots: 251, ..DesiredListener::default() };
        Desired {
            listeners: policies.iter().map(|(last, _)| (listener(*last), entry())).collect(),
            policies: policies.iter().map(|(last, policy)| (vip(*last), policy.clone())).collect(),
            ..Desired::default()
        }
    }

    fn reach(datapath: &mut Memory, desired: &Desired) -> Vec<Command> {
        let mut planner = Planner::new(Capacity { listeners: 64, backends: 64 }, 7);
        let now = std::time::Instant::now();
        let plan = planner.plan(desired, &datapath.observe().unwrap(), now);
        plan.commands.iter().for_each(|command| datapath.execute(command).unwrap());
        let again = planner.plan(desired, &datapath.observe().unwrap(), now);
        assert_eq!(again.commands, [], "nothing is left to do");
        plan.commands
    }

    #[test]
    fn ranges_are_entered_before_a_listener_looks_at_them() {
        let commands = reach(&mut Memory::default(), &desired(&[(1, policy(&["198.51.100.0/24"], &[], 5))]));
        let index = BalancerIndex(0);
        let limits = CheckedLimits { flows: 5, ..CheckedLimits::default() };
        assert_eq!(
            commands[..3],
            [
                Command::PutSource(index, range("198.51.100.0/24"), Source::Allowed),
                Command::PutSource(index, range("0.0.0.0/0"), Source::Denied),
                Command::PutLimits(index, limits),
            ]
        );
        let Command::PutListener(_, entry) = &commands[3] else { panic!("{commands:?}") };
        assert_eq!(entry.terms, Terms { balancer: index, filtered: true, limited: true, strict: false });
    }

    #[test]
    fn what_is_not_desired_any_more_goes_after_the_listener_looked_away() {
        let mut datapath = Memory::default();
        reach(&mut datapath, &desired(&[(1, policy(&["198.51.100.0/24"], &["198.51.100.9/32"], 5))]));
        let commands = reach(&mut datapath, &desired(&[(1, CheckedPolicy::default())]));
        assert!(matches!(commands[0], Command::PutListener(_, entry) if !entry.terms.filtered));
        assert_eq!(commands[1], Command::RemoveSource(BalancerIndex(0), range("0.0.0.0/0")));
        let observed = datapath.observe().unwrap();
        assert!(observed.sources.is_empty() && observed.limits.is_empty());
    }

    #[test]
    fn load_balancers_keep_their_indices_and_share_none() {
        let mut datapath = Memory::default();
        let deny = || policy(&[], &["198.51.100.0/24"], 0);
        reach(&mut datapath, &desired(&[(2, deny())]));
        reach(&mut datapath, &desired(&[(1, deny()), (2, deny())]));
        let observed = datapath.observe().unwrap();
        let indices: Vec<_> = observed.listeners.values().map(|entry| entry.terms.balancer.0).collect();
        assert_eq!(indices, [1, 0]);
        assert_eq!(observed.sources.len(), 2);
        reach(&mut datapath, &desired(&[(1, deny())]));
        assert_eq!(datapath.observe().unwrap().sources.len(), 1);
    }

    #[test]
    fn drift_is_mended() {
        let mut datapath = Memory::default();
        let wanted = desired(&[(1, policy(&["198.51.100.0/24"], &[], 5))]);
        reach(&mut datapath, &wanted);
        let index = BalancerIndex(0);
        let before = datapath.observe().unwrap();
        for drift in [
            Command::PutSource(index, range("198.51.100.0/24"), Source::Denied),
            Command::RemoveSource(index, range("0.0.0.0/0")),
            Command::PutSource(BalancerIndex(9), range("192.0.2.0/24"), Source::Denied),
            Command::PutLimits(index, CheckedLimits { packets: 3, ..CheckedLimits::default() }),
            Command::PutLimits(BalancerIndex(9), CheckedLimits { flows: 3, ..CheckedLimits::default() }),
        ] {
            datapath.execute(&drift).unwrap();
            reach(&mut datapath, &wanted);
            assert_eq!(datapath.observe().unwrap(), before, "{drift:?}");
        }
    }

    #[test]
    fn ranges_of_the_other_family_allow_nobody() {
        let sources = sources(IpAddr::from([203, 0, 113, 1]), &policy(&["2001:db8::/32"], &[], 0));
        assert_eq!(sources, [(range("0.0.0.0/0"), Source::Denied)].into());
    }
}
