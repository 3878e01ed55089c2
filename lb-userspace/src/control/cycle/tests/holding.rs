//! Addresses that the facts have ceased to tell a moment ago.

use super::*;
use crate::datapath::model::BackendState;
use crate::model::balancing::Draining;
use crate::model::load_balancer::BackendAddress;
use crate::model::vm::VirtualMachine;

const CHOSEN: [u8; 4] = [198, 51, 100, 11];

/// shop/front, which chooses [`CHOSEN`] of its VM and lets its flows end in a minute; the VM is as told.
fn choosing(vm: VirtualMachine) -> Facts {
    let mut front = front();
    front.spec.backend_address =
        Some(BackendAddress { subnet: "198.51.100.0/24".to_owned(), ..BackendAddress::default() });
    front.spec.draining = Some(Draining { timeout_seconds: 60 });
    let backend = Backend::new(front.metadata.key(), IpAddr::from(CHOSEN));
    let mut facts = facts(&[], &[CHOSEN]);
    facts.health.insert(backend, Health { ready: true, reason: Reason::Succeeded });
    facts.virtual_machines = Some(vms(&[vm]).into());
    let only = [(front.metadata.key(), front.into())];
    facts.resources = Arc::new(Resources { load_balancers: only.into(), ..Resources::default() });
    facts
}

#[test]
fn a_draining_backend_at_a_chosen_address_outlives_a_restart_of_the_guests_agent() {
    let mut cycle = cycle();
    let told = |labels: &[(&str, &str)], others: &[[u8; 4]]| {
        let mut vm = vm("shop", "a", labels, "192.0.2.11");
        vm.interfaces[0].ip_addresses =
            others.iter().map(|address| IpAddr::from(*address).to_string()).collect();
        choosing(vm)
    };
    let start = Instant::now();
    let mut state = |facts: &Facts, now| {
        cycle.turn(facts, now, Timestamp::UNIX_EPOCH, drop);
        let observed = cycle.converger.datapath().observe().unwrap();
        let entry = observed.backends.values().find(|entry| entry.address.ip() == IpAddr::from(CHOSEN));
        entry.map(|entry| entry.state)
    };
    assert_eq!(state(&told(&[("app", "web")], &[CHOSEN]), start), Some(BackendState::Active));
    assert_eq!(state(&told(&[], &[CHOSEN]), start), Some(BackendState::Draining), "not selected any more");
    let silent = told(&[], &[]);
    assert_eq!(state(&silent, start), Some(BackendState::Draining), "held");
    assert_eq!(state(&told(&[], &[CHOSEN]), start), Some(BackendState::Draining), "told again");
    let silent_again = told(&[], &[]);
    assert_eq!(state(&silent_again, start), Some(BackendState::Draining));
    let over = start + Inventory::HOLD_DOWN;
    assert_eq!(state(&silent_again, over), Some(BackendState::Dead), "the hold-down is over");
}
