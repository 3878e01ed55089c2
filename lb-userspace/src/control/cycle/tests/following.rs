//! What is taken over change by change is what all facts at once give.

use std::time::Duration;

use super::*;
use crate::model::load_balancer::BackendAddress;
use crate::model::vm::VirtualMachine;
use proptest::prelude::*;

/// What happens between two turns.
#[derive(Clone, Debug)]
struct Step {
    /// By VM: whether it runs, and the last bytes of its first address and another; 0 is none.
    vms: Vec<(bool, u8, u8)>,
    /// Last bytes of the addresses that are known to be there.
    settled: BTreeSet<u8>,
    /// Whether the load balancer chooses among addresses, has a VIP, and takes part.
    front: (bool, bool, bool),
    seconds: u64,
    /// Whether the next step comes while the network may yet tell where new addresses are.
    is_hasty: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let vms = proptest::collection::vec((any::<bool>(), 0_u8..4, 0_u8..5), 0..4);
    let settled = proptest::collection::btree_set(1_u8..5, 0..5);
    let front = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.8));
    (vms, settled, front, 0_u64..12, any::<bool>())
        .prop_map(|(vms, settled, front, seconds, is_hasty)| Step { vms, settled, front, seconds, is_hasty })
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

impl Step {
    fn facts(&self) -> Facts {
        let text = |last| if last == 0 { String::new() } else { address(last).to_string() };
        let one = |(number, &(running, first, other)): (usize, &(bool, u8, u8))| {
            let mut vm = vm("shop", &format!("vm-{number}"), &[("app", "web")], &text(first));
            vm.interfaces[0].ip_addresses = vec![text(other)];
            VirtualMachine { running, ..vm }
        };
        let list: Vec<_> = self.vms.iter().enumerate().map(one).collect();
        let mut topology = sample::vm_host();
        for &last in &self.settled {
            sample::reach(&mut topology, address(last), ETH0, None, station(last));
            topology.settled.insert(address(last), ());
        }
        let (chooses, has_vip, is_there) = self.front;
        let mut front = raw_lb();
        if chooses {
            let subnet = "192.0.2.4/30".into();
            front.spec.backend_address = Some(BackendAddress { interface: String::new(), subnet });
        }
        front.status.allocated_address = has_vip
            .then(|| AllocatedAddress { ip: "203.0.113.10".to_owned(), ..AllocatedAddress::default() });
        let load_balancers = is_there.then(|| (front.metadata.key(), front.into())).into_iter().collect();
        Facts {
            virtual_machines: Some(vms(&list).into()),
            topology: topology.into(),
            resources: Arc::new(Resources { load_balancers, ..Resources::default() }),
            ..Facts::default()
        }
    }
}

proptest! {
    #[test]
    fn what_follows_step_by_step_is_what_follows_at_once(steps in proptest::collection::vec(step(), 1..8)) {
        let (mut cycle, mut now) = (cycle(), Instant::now());
        let mut heard = Announced::default();
        for step in steps {
            let facts = step.facts();
            now += Duration::from_secs(step.seconds);
            loop {
                let Wishes { announced, .. } = cycle.turn(&facts, now, Timestamp::UNIX_EPOCH, drop);
                heard = announced.unwrap_or(heard);
                // Nobody answers where new addresses are.
                let until = cycle.answers.poll_timeout().filter(|_| !step.is_hasty);
                let Some(until) = until else { break };
                now = until;
            }

            let running = facts.virtual_machines.iter().flat_map(|vms| vms.values()).filter(|vm| vm.running);
            let told = running.flat_map(|vm| vm.addresses()).map(|(_, address)| address);
            let held = cycle.stations.held(&cycle.services.choices());
            let all: BTreeSet<IpAddr> = told.chain(held).collect();
            prop_assert_eq!(&cycle.derived.desired.running, &all);
            for last in 1..6 {
                let serves = |service: &&Service| {
                    let mut members = service.members.iter();
                    service.vip().is_some() && members.any(|member| member.address() == Some(address(last)))
                };
                let expected = cycle.services.values().filter(serves).count();
                prop_assert_eq!(cycle.derived.reaching(&[address(last)].into()).len(), expected);
                let many = (last..last + 9).map(address).collect();
                prop_assert!(cycle.derived.reaching(&many).len() >= expected);
            }
            if !cycle.is_waiting {
                let ours = cycle.derived.desired.vips.keys().copied().collect();
                prop_assert_eq!(&heard.vips, &ours);
            }
            if cycle.awaits_answers() {
                continue;
            }
            let observed = cycle.converger.datapath().observe().unwrap();
            cycle.forget();
            cycle.turn(&facts, now, Timestamp::UNIX_EPOCH, drop);
            prop_assert_eq!(observed, cycle.converger.datapath().observe().unwrap());
        }
    }
}
