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

use super::catalogue::Catalogue;
use super::scope::Scope;

/// Indices of load balancers: kept where there is one, else the lowest free one.
#[derive(Clone, Default, Debug)]
pub(super) struct Balancers {
    given: BTreeMap<IpAddr, BalancerIndex>,
    taken: BTreeSet<BalancerIndex>,
}

impl Balancers {
    /// All VIPs that have an index.
    pub(super) fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.given.keys().copied()
    }

    /// The index that a VIP with listeners was given.
    pub(super) fn of(&self, vip: IpAddr) -> Option<BalancerIndex> {
        self.given.get(&vip).copied()
    }

    /// Takes its index from a VIP.
    pub(super) fn release(&mut self, vip: IpAddr) {
        if let Some(index) = self.given.remove(&vip) {
            self.taken.remove(&index);
        }
    }

    /// Gives a VIP its index, if there is room.
    pub(super) fn give(&mut self, vip: IpAddr, catalogue: &Catalogue) {
        let is_taken = |index: &BalancerIndex| self.taken.contains(index);
        let mut own = catalogue.listeners_of(vip).map(|(_, entry)| entry.terms.balancer);
        let all = (0..u16::try_from(MAX_BALANCERS).unwrap_or(u16::MAX)).map(BalancerIndex);
        let mut free = all.filter(|index| catalogue.is_free_balancer(*index));
        let index = own.find(|index| !is_taken(index)).or_else(|| free.find(|index| !is_taken(index)));
        if let Some(index) = index {
            self.given.insert(vip, index);
            self.taken.insert(index);
        }
    }

    /// On what terms flows to a listener are opened; `None` when there is no room for its load balancer.
    pub(super) fn terms(&self, desired: &Desired, listener: ListenerAddress, strict: bool) -> Option<Terms> {
        let balancer = self.of(listener.vip)?;
        let Some(policy) = desired.policies.get(&listener.vip) else {
            return Some(Terms { balancer, strict, ..Terms::default() });
        };
        let filtered = !sources(listener.vip, policy).is_empty();
        Some(Terms { balancer, filtered, limited: policy.limits.limits_flows(), strict })
    }

    /// Whose limits of packets hold for a backend of this VIP.
    pub(super) fn limited_by(&self, desired: &Desired, vip: IpAddr) -> Option<BalancerIndex> {
        let policy = desired.policies.get(&vip).filter(|policy| policy.limits.limits_packets());
        policy.and_then(|_| self.of(vip))
    }

    /// What must be entered before listeners look at it, and what may go once none looks at it.
    pub(super) fn changes(
        &self,
        desired: &Desired,
        observed: &Observed,
        scope: &Scope,
    ) -> (Vec<Command>, Vec<Command>) {
        let given =
            scope.vips.iter().filter_map(|vip| Some((self.of(*vip)?, *vip, desired.policies.get(vip)?)));
        let given: BTreeMap<_, _> = given.map(|(index, vip, policy)| (index, (vip, policy))).collect();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for index in scope.balancers.iter().chain(given.keys()).copied().collect::<BTreeSet<_>>() {
            let (wanted, limits) = given
                .get(&index)
                .map_or_else(Default::default, |(vip, policy)| (sources(*vip, policy), policy.limits));
            let held = observed.sources.get(&index);
            let is_held = |range: &Subnet, source| held.and_then(|held| held.get(range)) == Some(source);
            let mut enter: Vec<_> = wanted.iter().filter(|(range, source)| !is_held(range, source)).collect();
            // The range that denies all others comes after those that it would deny.
            enter.sort_by_key(|(range, _)| u8::MAX - range.prefix());
            before
                .extend(enter.into_iter().map(|(range, source)| Command::PutSource(index, *range, *source)));
            let held = held.into_iter().flat_map(BTreeMap::keys);
            let mut leave: Vec<_> = held.filter(|range| !wanted.contains_key(range)).collect();
            leave.sort_by_key(|range| range.prefix());
            after.extend(leave.into_iter().map(|range| Command::RemoveSource(index, *range)));
            if limits != observed.limits.get(&index).copied().unwrap_or_default() {
                let is_limited = limits != CheckedLimits::default();
                if is_limited { &mut before } else { &mut after }.push(Command::PutLimits(index, limits));
            }
        }
        (before, after)
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
        let mut catalogue = Catalogue::default();
        catalogue.replace(datapath.observe().unwrap(), now);
        let plan = planner.plan(desired, &catalogue, now);
        plan.commands.iter().for_each(|command| datapath.execute(command).unwrap());
        catalogue.replace(datapath.observe().unwrap(), now);
        let again = planner.plan(desired, &catalogue, now);
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
        assert_eq!(observed.sources.values().map(BTreeMap::len).collect::<Vec<_>>(), [1, 1]);
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
