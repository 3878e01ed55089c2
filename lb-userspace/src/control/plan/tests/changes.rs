//! Plans of what was altered, beside plans of everything.

use super::*;
use crate::control::model::Altered;
use crate::datapath::model::{CheckedLimits, Source, Subnet};
use crate::model::check::CheckedPolicy;

/// What happens to a node.
#[derive(Clone, Debug)]
enum Event {
    /// Something else is desired.
    Desire(Desired),
    /// So many seconds go by, if nothing is due before.
    Wait(u8),
    /// The datapath refuses a command of the next plan; all is looked at again.
    Fail(prop::sample::Index),
    /// The maps are read back.
    Resync,
    /// The agent ends, and another one begins.
    Restart,
}

prop_compose! {
    fn policy()(flows in 0_u32..2, packets in 0_u32..2, denied in prop::collection::vec(1_u8..4, 0..3)) -> CheckedPolicy {
        let range = |third: u8| Subnet::new([198, 51, third, 0].into(), 24).unwrap();
        let limits = CheckedLimits { flows, packets, ..CheckedLimits::default() };
        CheckedPolicy { sources: denied.into_iter().map(|third| (range(third), Source::Denied)).collect(), limits }
    }
}

prop_compose! {
    /// As [`desired`], with all that only time tells: backends that leave and that begin slowly, and VMs that stop. And
    /// with ranges of ports and policies.
    fn changing()(
        mut desired in desired(),
        times in prop::collection::vec((prop::option::of(0_u64..90), 0_u64..90, prop::option::of(1_u16..9)), 5),
        stopped in prop::collection::btree_set(1_u8..8, 0..4),
        policies in prop::collection::btree_map(1_u8..3, policy(), 0..3),
    ) -> Desired {
        let listeners = std::mem::take(&mut desired.listeners).into_iter();
        desired.listeners = listeners.zip(times).map(|((address, mut entry), (draining, slow_start, ports))| {
            entry.draining = draining.map(Duration::from_secs);
            entry.slow_start = Duration::from_secs(slow_start);
            // Ranges that don't overlap, as each begins at 8000, 8100 or 8200.
            let range = |ports| {
                let port = 8000 + (address.port - 80) * 100;
                ListenerAddress { port, last_port: Some(port + ports), ..address }
            };
            (ports.map_or(address, range), entry)
        }).collect();
        desired.running = (1..8).filter(|last| !stopped.contains(last)).map(|last| server(last).ip()).collect();
        desired.policies = policies.into_iter().map(|(last, policy)| (vip(last), policy)).collect();
        desired
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => changing().prop_map(Event::Desire),
        4 => (0_u8..70).prop_map(Event::Wait),
        1 => any::<prop::sample::Index>().prop_map(Event::Fail),
        1 => Just(Event::Resync),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..24)
}

fn differing<K: Ord + Copy, V: PartialEq>(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> BTreeSet<K> {
    let all = before.keys().chain(after.keys());
    all.filter(|key| before.get(key) != after.get(key)).copied().collect()
}

/// What a control loop would tell. A policy concerns all listeners of its VIP.
fn altered(before: &Desired, after: &Desired) -> Altered {
    let policies = differing(&before.policies, &after.policies);
    let all = before.listeners.keys().chain(after.listeners.keys()).copied();
    Altered {
        listeners: &differing(&before.listeners, &after.listeners)
            | &all.filter(|listener| policies.contains(&listener.vip)).collect(),
        vips: &differing(&before.vips, &after.vips) | &policies,
        stopped: before.running.difference(&after.running).copied().collect(),
    }
}

/// A node that is told what was altered.
struct Told {
    node: Node,
    desired: Desired,
    altered: Altered,
    is_followed: bool,
    fails_at: Option<prop::sample::Index>,
}

impl Told {
    fn new() -> Self {
        Self {
            node: Node::new(),
            desired: Desired::default(),
            altered: Altered::default(),
            is_followed: false,
            fails_at: None,
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Desire(desired) => {
                self.altered = altered(&self.desired, &desired);
                self.desired = desired;
            }
            Event::Wait(seconds) => {
                let end = self.node.now + Duration::from_secs(seconds.into());
                while let Some(due) = self.node.planner.poll_timeout().filter(|due| *due <= end) {
                    prop_assert!(due > self.node.now, "due, and nothing came of it");
                    self.node.now = due;
                    self.turn()?;
                }
                self.node.now = end;
            }
            Event::Fail(at) => {
                self.fails_at = Some(at);
                return Ok(());
            }
            Event::Resync => self.is_followed = false,
            Event::Restart => {
                self.node.restart();
                self.is_followed = false;
            }
        }
        self.turn()
    }

    fn turn(&mut self) -> Result<(), TestCaseError> {
        let Node { planner, catalogue, datapath, now } = &mut self.node;
        let altered = std::mem::take(&mut self.altered);
        let plan = if self.is_followed {
            let mut whole = planner.clone();
            let all = whole.plan(&self.desired, catalogue, *now);
            let plan = planner.plan_changes(&self.desired, catalogue, &altered, *now);
            prop_assert_eq!(&plan, &all);
            prop_assert_eq!(planner.poll_timeout(), whole.poll_timeout());
            plan
        } else {
            catalogue.forget();
            catalogue.replace(datapath.observe().unwrap(), *now);
            planner.plan(&self.desired, catalogue, *now)
        };
        let before = datapath.observe().unwrap();
        let mut after = before.clone();
        plan.commands.iter().for_each(|command| after.apply(command));
        let served: Vec<_> = before
            .listeners
            .keys()
            .filter(|&&address| is_served(&before, address) && is_served(&after, address))
            .collect();
        let executed =
            self.fails_at.take().map_or(plan.commands.len(), |at| at.index(plan.commands.len() + 1));
        for command in plan.commands.iter().take(executed) {
            datapath.execute(command).unwrap();
            catalogue.apply(command, *now);
            let between = datapath.observe().unwrap();
            prop_assert!(points_only_to_living(&between), "after {command:?}");
            for &&address in &served {
                prop_assert!(is_served(&between, address), "{address:?} after {command:?}");
            }
            prop_assert_eq!(catalogue.observed(), &between);
        }
        self.is_followed = executed == plan.commands.len();
        if self.is_followed {
            prop_assert_eq!(planner.clone().plan(&self.desired, catalogue, *now), Plan::default());
            let mut read_back = catalogue.clone();
            read_back.replace(datapath.observe().unwrap(), *now);
            prop_assert_eq!(&read_back, &*catalogue, "read back, it is the same");
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_plan_of_what_was_altered_is_a_plan_of_everything(events in events()) {
        let mut told = Told::new();
        for event in events {
            told.happen(event)?;
        }
    }
}

/// A thousand listeners were planned where one was due.
#[test]
fn what_is_due_is_planned_alone() {
    let mut desired = one_listener(&[(11, true), (12, true)]);
    let entry = desired.listeners[&listener(1, 80)].clone();
    desired.listeners.insert(listener(1, 81), DesiredListener { draining: Some(REUSE_AFTER), ..entry });
    let mut node = Node::new();
    node.reach(&desired);
    let leaving = desired.listeners.get_mut(&listener(1, 81)).unwrap();
    leaving.backends.get_mut(&server(11)).unwrap().admitted = false;
    node.reach(&desired);
    node.now += REUSE_AFTER;
    assert_eq!(node.planner.timetable.due(node.now).collect::<Vec<_>>(), [listener(1, 81)]);
    node.catalogue.replace(node.observe(), node.now);
    let plan = node.planner.plan_changes(&desired, &node.catalogue, &Altered::default(), node.now);
    let [Command::PutBackend(_, entry)] = plan.commands.as_slice() else { panic!("{plan:?}") };
    assert_eq!((entry.address, entry.state), (server(11), BackendState::Dead));
}
