use super::*;
use crate::config::Inventory;
use crate::control::select::tests::{vm, vms};
use crate::model::range::Subnet;
use proptest::prelude::*;

const FIRST: [u8; 4] = [192, 0, 2, 11];
const SECOND: [u8; 4] = [192, 0, 2, 12];

fn told(name: &str, address: &str) -> VirtualMachine {
    vm("shop", name, &[], address)
}

/// Facts in turn; then where the VM `a` is reached.
fn after(steps: &[&[VirtualMachine]]) -> Option<IpAddr> {
    let now = Instant::now();
    let mut stations = Stations::new(Inventory::HOLD_DOWN);
    for step in steps {
        stations.handle_facts(&vms(step), now);
    }
    stations.of(&told("a", ""), Family::V4).map(|station| station.address)
}

#[test]
fn a_vanished_address_is_held_for_a_while() {
    let start = Instant::now();
    let mut stations = Stations::new(Inventory::HOLD_DOWN);
    stations.handle_facts(&vms(&[told("a", "192.0.2.11")]), start);
    assert_eq!(stations.poll_timeout(), None);
    let silent = vms(&[told("a", "")]);
    for seconds in [100, 105] {
        stations.handle_facts(&silent, start + Duration::from_secs(seconds));
    }
    let due = start + Duration::from_secs(115);
    assert_eq!(stations.poll_timeout(), Some(due));
    assert!(stations.handle_timeout(due.checked_sub(Duration::from_nanos(1)).unwrap()).is_empty());
    assert_eq!(stations.of(&told("a", ""), Family::V4).unwrap().address, IpAddr::from(FIRST));
    assert!(!stations.handle_timeout(due).is_empty());
    assert_eq!((stations.of(&told("a", ""), Family::V4), stations.poll_timeout()), (None, None));
}

#[test]
fn an_address_that_comes_back_is_held_anew_when_it_vanishes_again() {
    let start = Instant::now();
    let mut stations = Stations::new(Inventory::HOLD_DOWN);
    for (seconds, address) in [(0, "192.0.2.11"), (10, ""), (20, "192.0.2.11"), (30, "")] {
        stations.handle_facts(&vms(&[told("a", address)]), start + Duration::from_secs(seconds));
    }
    assert_eq!(stations.poll_timeout(), Some(start + Duration::from_secs(45)));
}

#[test]
fn the_families_of_a_vm_vanish_one_by_one() {
    let start = Instant::now();
    let mut stations = Stations::new(Inventory::HOLD_DOWN);
    let mut both = told("a", "192.0.2.11");
    both.interfaces[0].ip_addresses = vec!["192.0.2.11".into(), "2001:db8::11".into()];
    stations.handle_facts(&vms(&[both.clone()]), start);
    stations.handle_facts(&vms(&[told("a", "192.0.2.11")]), start);
    let address = |stations: &Stations, family| Some(stations.of(&both, family)?.address.to_string());
    assert_eq!(address(&stations, Family::V6).as_deref(), Some("2001:db8::11"));
    assert!(!stations.handle_timeout(start + Inventory::HOLD_DOWN).is_empty());
    assert_eq!(address(&stations, Family::V6), None);
    assert_eq!(address(&stations, Family::V4).as_deref(), Some("192.0.2.11"));
}

#[test]
fn everything_but_a_vanished_address_acts_at_once() {
    let there = [told("a", "192.0.2.11")];
    let stopped = VirtualMachine { running: false, ..told("a", "192.0.2.11") };
    assert_eq!(after(&[&there, &[told("a", "")]]), Some(FIRST.into()));
    assert_eq!(after(&[&there, &[told("a", "192.0.2.12")]]), Some(SECOND.into()));
    assert_eq!(after(&[&there, &[]]), None, "gone");
    assert_eq!(after(&[&there, &[stopped]]), None, "stopped");
    assert_eq!(after(&[&there, &[told("a", ""), told("b", "192.0.2.11")]]), None, "taken");
    assert_eq!(after(&[&[told("a", "")]]), None, "never known");
}

#[test]
fn a_chosen_address_is_held_as_the_first_one_is() {
    let start = Instant::now();
    let two = |first: &str, second: &str| {
        let mut vm = told("a", first);
        vm.interfaces[0].ip_addresses = vec![second.to_owned()];
        vm
    };
    let choice = AddressChoice { interface: None, subnet: Subnet::parse("198.51.100.0/24") };
    let mut stations = Stations::new(Inventory::HOLD_DOWN);
    let chosen = |stations: &Stations| {
        stations.chosen(&told("a", ""), Family::V4, &choice).map(|station| station.address.to_string())
    };
    stations.handle_facts(&vms(&[two("192.0.2.11", "198.51.100.11")]), start);
    assert_eq!(chosen(&stations).as_deref(), Some("198.51.100.11"));
    let silent = vms(&[told("a", "192.0.2.11")]);
    stations.handle_facts(&silent, start);
    assert_eq!(chosen(&stations).as_deref(), Some("198.51.100.11"), "held");
    assert_eq!(stations.poll_timeout(), Some(start + Inventory::HOLD_DOWN));
    stations.handle_facts(&vms(&[two("192.0.2.11", "198.51.100.12")]), start);
    assert_eq!(chosen(&stations).as_deref(), Some("198.51.100.12"), "another acts at once");
    stations.handle_facts(&silent, start + Duration::from_secs(1));
    assert!(!stations.handle_timeout(start + Inventory::HOLD_DOWN).is_empty());
    assert_eq!(chosen(&stations).as_deref(), Some("198.51.100.12"), "the first one's time is over alone");
    let other = told("b", "198.51.100.12");
    stations.handle_facts(&vms(&[told("a", "192.0.2.11"), other]), start + Duration::from_secs(2));
    assert_eq!(chosen(&stations), None, "taken");
    let stopped = VirtualMachine { running: false, ..two("192.0.2.11", "198.51.100.11") };
    stations.handle_facts(&vms(&[stopped]), start + Duration::from_secs(3));
    assert_eq!((chosen(&stations), stations.held(&[("shop", &choice)].into()).len()), (None, 0));
}

#[test]
fn a_held_address_is_one_of_a_running_vm_while_nothing_is_told_in_its_place() {
    let start = Instant::now();
    let telling = |addresses: &[&str]| {
        let mut vm = told("a", addresses[0]);
        vm.interfaces[0].ip_addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        vms(&[vm])
    };
    let of = |subnet| AddressChoice { interface: None, subnet: Subnet::parse(subnet) };
    let (chosen, other) = (of("198.51.100.0/24"), of("203.0.113.0/24"));
    let reached = |stations: &Stations, namespace, choice| -> Vec<String> {
        let held = stations.held(&[(namespace, choice)].into());
        let all =
            [[192, 0, 2, 11], [192, 0, 2, 12], [198, 51, 100, 11], [198, 51, 100, 12]].map(IpAddr::from);
        let running = all.iter().filter(|one| stations.is_told(**one) || held.contains(*one));
        running.map(IpAddr::to_string).collect()
    };
    let mut stations = Stations::new(Inventory::HOLD_DOWN);
    stations.handle_facts(&telling(&["192.0.2.11", "198.51.100.11"]), start);
    assert!(!stations.is_holding());
    stations.handle_facts(&telling(&["192.0.2.11"]), start);
    assert!(stations.is_holding());
    assert_eq!(reached(&stations, "shop", &chosen), ["192.0.2.11", "198.51.100.11"]);
    assert_eq!(reached(&stations, "shop", &other), ["192.0.2.11"], "nobody chooses it");
    assert_eq!(reached(&stations, "bank", &chosen), ["192.0.2.11"], "nobody of its namespace does");
    stations.handle_facts(&telling(&["192.0.2.12", "198.51.100.12"]), start);
    let both = ["192.0.2.12", "198.51.100.12"];
    assert_eq!(reached(&stations, "shop", &chosen), both, "both are replaced");
    stations.handle_facts(&telling(&[""]), start);
    assert_eq!(reached(&stations, "shop", &chosen), ["192.0.2.12", "198.51.100.11", "198.51.100.12"]);
    assert!(!stations.handle_timeout(start + Inventory::HOLD_DOWN).is_empty());
    assert!(reached(&stations, "shop", &chosen).is_empty());
}

/// A VM, whether it runs, its main address and the one beside it: some share them, and some tell none.
fn telling() -> impl Strategy<Value = Vec<VirtualMachine>> {
    let host =
        || (0_u8..4).prop_map(|host| if host == 0 { String::new() } else { format!("192.0.2.{host}") });
    let one = (0_u8..3, any::<bool>(), host(), host()).prop_map(|(name, running, first, second)| {
        let mut vm = told(&format!("vm-{name}"), &first);
        vm.interfaces[0].ip_addresses = vec![second];
        VirtualMachine { running, ..vm }
    });
    proptest::collection::vec(one, 0..4)
}

proptest! {
    #[test]
    fn what_turned_leads_from_what_was_told_to_what_is(steps in proptest::collection::vec(telling(), 1..8)) {
        let mut stations = Stations::new(Inventory::HOLD_DOWN);
        let mut followed = BTreeSet::new();
        for step in steps {
            let vms = vms(&step);
            stations.handle_facts(&vms, Instant::now());
            for address in stations.take_turned() {
                if stations.is_told(address) {
                    followed.insert(address);
                } else {
                    followed.remove(&address);
                }
            }
            let running = vms.values().filter(|vm| vm.running);
            let all = running.flat_map(|vm| vm.addresses()).map(|(_, address)| address);
            prop_assert_eq!(&followed, &all.collect::<BTreeSet<_>>());
        }
    }
}
