//! Many connections at once, while backends come and go.

use std::env;
use std::time::{Duration, Instant};

use lb_tests::lab::client::crowd::Crowd;
use lb_tests::lab::facts::Fact;
use lb_tests::lab::server::crowd::{self, PORT};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec, Vm, wait};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::fixture::SOON;

/// A client whose backend died hears of it within this time, however idle it is.
const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
fn idle_clients_of_a_removed_backend_are_reset_within_a_second_and_no_others() {
    let wanted = if env::var_os("LB_LONG").is_some() { 10_000 } else { 1000 };
    let connections = as_many_as_may_be(wanted);
    let vms = 10;
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms }).unwrap();
    let (program, directory) = (env!("CARGO_BIN_EXE_crowd"), lab.directory("servers").unwrap());
    let start = |vm: &Vm| crowd::start(program, &vm.namespace, &vm.name, &directory).unwrap();
    let _servers: Vec<_> = lab.vms.iter().map(start).collect();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let vip = lab.create_lb("front", &["--listener", &format!("echo:{PORT}/tcp")]).unwrap();
    let server = (vip, PORT).into();
    wait::until("all VMs serve", SOON, || {
        Crowd::open(lab.client(), server, 100).is_ok_and(|crowd| crowd.by_vm.len() == usize::from(vms))
    })
    .unwrap();

    let mut crowd = Crowd::open(lab.client(), server, connections).unwrap();
    let removed = lab.vms[2].name.clone();
    let theirs = crowd.by_vm.remove(&removed).unwrap();
    let count = theirs.len();
    assert!(count > connections / 20, "{count} of {connections} connections");
    let rest: Vec<Fact> = lab.facts().into_iter().filter(|fact| fact.name != removed).collect();
    let told = Instant::now();
    lab.write_facts(&rest).unwrap();
    let resets = Crowd::resets(theirs, SOON).unwrap();
    let (first, last) = (resets[0], resets[resets.len() - 1]);
    eprintln!(
        "{count} of {connections} idle clients reset, the first {:?}, the last {:?} after the VM went",
        first - told,
        last - told
    );
    assert!(last - first < AT_ONCE, "from the first to the last of {count}: {:?}", last - first);
    crowd.converse().unwrap();
    let new = Crowd::open(lab.client(), server, connections / 10).unwrap();
    assert!(!new.by_vm.contains_key(&removed), "{:?}", new.by_vm.keys());
    assert_eq!(new.by_vm.len(), usize::from(vms) - 1);
}

/// A connection is a descriptor of this process, which may have so many and no more; a tenth of them come later.
fn as_many_as_may_be(wanted: usize) -> usize {
    const OTHERS: usize = 1000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    wanted.min((usize::try_from(hard).unwrap_or(usize::MAX) - OTHERS) / 11 * 10)
}
