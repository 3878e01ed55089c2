//! What is taken over change by change is what all facts at once give.

use std::time::Duration;

use super::*;
use crate::model::load_balancer::BackendAddress;
use crate::model::vm::VirtualMachine;
use proptest::prelude::*;

/// What happens between two turns.
#[derive(Clone, Debug)]
struct Step {
    /// By VM: whether it runs, the last bytes of its first address and another, and that of its MAC; 0 is none.
    vms: Vec<(bool, u8, u8, u8)>,
    /// Last bytes of the addresses that are known to be there, by that of the MAC that is asked for them.
    settled: BTreeMap<u8, u8>,
    /// Last bytes of the MACs that the bridge knows, by port.
    behind: BTreeMap<u8, u32>,
    /// Whether the load balancer chooses among addresses, has a VIP, and takes part.
    front: (bool, bool, bool),
    seconds: u64,
    /// Whether VMs, what is settled, and the load balancer stay as they were.
    keeps: (bool, bool, bool),
    /// Whether the next step comes while the network may yet tell where new addresses are.
    is_hasty: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let vms = proptest::collection::vec((any::<bool>(), 0_u8..4, 0_u8..5, 0_u8..3), 0..4);
    let settled = proptest::collection::btree_map(1_u8..5, 1_u8..5, 0..5);
    let port = prop_oneof![Just(sample::VNET1), Just(sample::VNET2)];
    let behind = proptest::collection::btree_map(1_u8..5, port, 0..4);
    let front = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.8));
    let keeps = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.8));
    (vms, settled, behind, front, 0_u64..12, keeps, any::<bool>()).prop_map(
        |(vms, settled, behind, front, seconds, keeps, is_hasty)| Step {
            vms,
            settled,
            behind,
            front,
            seconds,
            keeps,
            is_hasty,
        },
    )
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

impl Step {
    fn after(mut self, before: &Self) -> Self {
        let (vms, settled, front) = self.keeps;
        if vms {
            self.vms.clone_from(&before.vms);
        }
        if settled {
            self.settled.clone_from(&before.settled);
        }
        if front {
            self.front = before.front;
        }
        self
    }

    fn facts(&self) -> Facts {
        let text = |last| if last == 0 { String::new() } else { address(last).to_string() };
        let one = |(number, &(running, first, other, mac)): (usize, &(bool, u8, u8, u8))| {
            let mut vm = vm("shop", &format!("vm-{number}"), &[("app", "web")], &text(first));
            vm.interfaces[0].ip_addresses = vec![text(other)];
            vm.interfaces[0].mac = (mac != 0).then(|| station(mac));
            VirtualMachine { running, ..vm }
        };
        let list: Vec<_> = self.vms.iter().enumerate().map(one).collect();
        let mut topology = sample::vm_host();
        for (&last, &mac) in &self.settled {
            sample::reach(&mut topology, address(last), ETH0, None, station(mac));
            topology.settled.insert(address(last), ());
        }
        for (&last, &port) in &self.behind {
            sample::behind(&mut topology, station(last), port);
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
        let mut before: Option<Step> = None;
        for step in steps {
            let step = before.iter().fold(step, Step::after);
            before = Some(step.clone());
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
                let ours = cycle.derived.desired.vips.keys().map(|vip| (*vip, 0)).collect();
                prop_assert_eq!(&heard.vips, &ours);
            }
            if cycle.awaits_answers() {
                continue;
            }
            let observed = cycle.converger.datapath().observe().unwrap();
            cycle.forget();
            // Those of a turn that knows of none before.
            let followed = std::mem::take(&mut cycle.services);
            cycle.turn(&facts, now, Timestamp::UNIX_EPOCH, drop);
            prop_assert_eq!(observed, cycle.converger.datapath().observe().unwrap());
            cycle.services = followed;
        }
    }
}

/// Where the datapath looks for the backend of shop/front.
fn interfaces(cycle: &mut Cycle<Memory>, facts: &Facts) -> Vec<u32> {
    turn(cycle, facts);
    let observed = cycle.converger.datapath().observe().unwrap();
    observed.backends.values().map(|backend| backend.placement.ifindex).collect()
}

#[test]
fn a_vm_is_followed_to_another_port_by_the_mac_that_it_states_and_by_its_neighbours() {
    let stated = {
        let mut facts = facts(&[FIRST], &[FIRST]);
        let mut web = vm("shop", "web", &[("app", "web")], &IpAddr::from(FIRST).to_string());
        web.interfaces[0].mac = Some(station(21));
        facts.virtual_machines = Some(vms(&[web]).into());
        facts
    };
    for (mac, before) in [(station(21), stated), (station(FIRST[3]), facts(&[FIRST], &[FIRST]))] {
        let mut cycle = cycle();
        for port in [sample::VNET1, sample::VNET2, sample::VNET1] {
            let mut facts = before.clone();
            sample::behind(Arc::make_mut(&mut facts.topology), mac, port);
            assert_eq!(interfaces(&mut cycle, &facts), [port]);
        }
    }
}

#[test]
fn a_backend_is_followed_to_another_neighbour() {
    let mut cycle = cycle();
    for mac in [station(21), station(22)] {
        let mut facts = facts(&[FIRST], &[FIRST]);
        sample::reach(Arc::make_mut(&mut facts.topology), FIRST.into(), ETH0, None, mac);
        turn(&mut cycle, &facts);
        let observed = cycle.converger.datapath().observe().unwrap();
        let macs: Vec<_> = observed.backends.values().map(|backend| backend.placement.mac).collect();
        assert_eq!(macs, [Some(mac)]);
    }
}
