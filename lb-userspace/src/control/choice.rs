//! Who serves a load balancer, chosen anew only as far as virtual machines have changed.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::hold::Stations;
use super::select::{Labelled, Member, Selecting, members};
use crate::model::check::CheckedLoadBalancer;
use crate::model::family::Family;
use crate::model::meta::NamespacedName;
use crate::model::shared::differing;
use crate::model::vm::VirtualMachines;

/// From how many load balancers on that choose among all VMs it is worth to order these by label.
const MANY: usize = 8;

/// Chooses members.
pub(super) struct Choice<'a> {
    vms: &'a VirtualMachines,
    stations: &'a Stations,
    /// Those that are not as they were, gone ones included.
    changed: &'a BTreeSet<NamespacedName>,
    /// Those of them that there are, once anybody asks: at the start they are everyone.
    new: OnceCell<Labelled<'a>>,
    /// Those of them that there were, as they were.
    old: Labelled<'a>,
    everyone: Option<Labelled<'a>>,
}

impl<'a> Choice<'a> {
    /// Among VMs, as they were and are, of which these have changed, for as many load balancers that are new or want
    /// others.
    pub(super) fn new(
        (before, vms): (Option<&'a VirtualMachines>, &'a VirtualMachines),
        stations: &'a Stations,
        changed: &'a BTreeSet<NamespacedName>,
        choosers: usize,
    ) -> Self {
        let old = Labelled::new(changed.iter().filter_map(|key| Some(&**before?.get(key)?)));
        let everyone = (choosers >= MANY).then(|| Labelled::new(vms.values().map(AsRef::as_ref)));
        Self { vms, stations, changed, new: OnceCell::new(), old, everyone }
    }

    fn new_ones(&self) -> &Labelled<'a> {
        let vms = || self.changed.iter().filter_map(|key| Some(&**self.vms.get(key)?));
        self.new.get_or_init(|| Labelled::new(vms()))
    }

    /// The members of a load balancer.
    pub(super) fn among_all(&self, lb: &CheckedLoadBalancer, family: Family) -> Vec<Member> {
        match &self.everyone {
            Some(labelled) => members(lb, family, labelled.candidates(lb), self.stations),
            None => members(lb, family, self.vms.values().map(AsRef::as_ref), self.stations),
        }
    }

    /// The members of a load balancer that selected these before, and selects as it did. Their addresses and weights
    /// may be others.
    pub(super) fn among_known(
        &self,
        lb: &CheckedLoadBalancer,
        family: Family,
        before: &[Member],
    ) -> Vec<Member> {
        let keys =
            before.iter().map(|member| NamespacedName::new(lb.key.namespace.clone(), member.vm.clone()));
        let unchanged = keys.filter(|key| !self.changed.contains(key));
        let stay = unchanged.filter_map(|key| Some(&**self.vms.get(&key)?));
        members(lb, family, stay.chain(self.new_ones().candidates(lb)), self.stations)
    }

    /// Those of the load balancers of which any of those that have changed may be, or have been, a member.
    pub(super) fn concerned<'b>(&'b self, all: &'b Selecting) -> impl Iterator<Item = &'b NamespacedName> {
        all.of(self.new_ones()).chain(all.of(&self.old))
    }

    /// The members of a load balancer that has chosen these before; `None` where they are the same. `before` is in
    /// the order of their names.
    pub(super) fn among_changed(
        &self,
        lb: &CheckedLoadBalancer,
        family: Family,
        before: &[Member],
    ) -> Option<Vec<Member>> {
        let joining = members(lb, family, self.new_ones().candidates(lb), self.stations);
        let mine = self.changed.iter().filter(|vm| vm.namespace == lb.key.namespace);
        let place = |vm: &NamespacedName| before.binary_search_by(|member| member.vm.cmp(&vm.name)).ok();
        let leaving: BTreeSet<usize> = mine.filter_map(place).collect();
        if leaving.iter().filter_map(|place| before.get(*place)).eq(&joining) {
            return None;
        }
        let stay = before.iter().enumerate().filter(|(place, _)| !leaving.contains(place));
        let mut all: Vec<Member> = stay.map(|(_, member)| member.clone()).chain(joining).collect();
        all.sort_by(|one, other| one.vm.cmp(&other.vm));
        all.shrink_to_fit();
        Some(all)
    }
}

/// The VMs that are not as they were, those that are gone included.
pub(super) fn differing_vms(before: &VirtualMachines, after: &VirtualMachines) -> BTreeSet<NamespacedName> {
    let differing = differing(before, after).into_iter().filter(|(_, old, new)| old != new);
    differing.map(|(key, ..)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Inventory;
    use crate::control::select::tests::{raw_lb, vm, vms};
    use crate::model::vm::VirtualMachine;
    use proptest::prelude::*;

    /// Few names, labels and addresses, so that VMs come, go, and take each other's place.
    fn list() -> impl Strategy<Value = Vec<VirtualMachine>> {
        let one = (0_u8..4, any::<bool>(), any::<bool>(), 0_u8..4).prop_map(|(name, web, running, host)| {
            let labels = if web { [("app", "web")] } else { [("app", "db")] };
            let address = if host == 0 { String::new() } else { format!("192.0.2.{host}") };
            VirtualMachine { running, ..vm("shop", &format!("vm-{name}"), &labels, &address) }
        });
        proptest::collection::vec(one, 0..5)
    }

    proptest! {
        /// What is chosen step by step is what a choice among all gives.
        #[test]
        fn members_follow_changes(steps in proptest::collection::vec(list(), 1..6)) {
            let lb = raw_lb().check().unwrap();
            let mut selecting = Selecting::default();
            selecting.add(&lb);
            let now = Instant::now();
            let (mut by_steps, mut at_once) =
                (Stations::new(Inventory::HOLD_DOWN), Stations::new(Inventory::HOLD_DOWN));
            let (mut before, mut known) = (VirtualMachines::new(), Vec::new());
            for step in steps {
                let after = vms(&step);
                let changed = by_steps.handle_changes(&after, &differing_vms(&before, &after), now);
                let choice = Choice::new((Some(&before), &after), &by_steps, &changed, 0);
                let again = choice.among_known(&lb, Family::V4, &known);
                let chosen = choice.among_changed(&lb, Family::V4, &known);
                prop_assert!(chosen.is_none() || choice.concerned(&selecting).any(|concerned| *concerned == lb.key));
                known = chosen.unwrap_or(known);
                prop_assert_eq!(&known, &again);
                at_once.handle_facts(&after, now);
                prop_assert_eq!(&known, &members(&lb, Family::V4, after.values().map(AsRef::as_ref), &at_once));
                let many = Choice::new((Some(&before), &after), &by_steps, &changed, MANY);
                prop_assert_eq!(&known, &many.among_all(&lb, Family::V4));
                before = after;
            }
        }
    }
}
