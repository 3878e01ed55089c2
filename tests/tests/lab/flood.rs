//! A flood of SYNs on a small flow table.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use lb_common::net::Mac;
use lb_tests::lab::client::connection::{Connection, open_many};
use lb_tests::lab::client::flood;
use lb_tests::lab::host;
use lb_tests::lab::namespace::output;
use lb_tests::lab::server::echo::Echo;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec};

/// Entries of the flow table: 64k, which is room for 32k flows.
const ENTRIES: u32 = 65_536;
/// Connections that are merely idle.
const IDLE: usize = 1000;
/// Sources a second.
const RATE: u64 = 200_000;

/// The MAC with which an address is answered for.
fn neighbour(lab: &Lab, address: Ipv4Addr) -> Mac {
    let listed = output(lab.client().command("ip").args(["neigh", "show", &address.to_string()])).unwrap();
    let mac = listed.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap();
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    Mac(bytes.try_into().unwrap())
}

fn attack(hook: Hook) {
    let long = env::var_os("LB_LONG").is_some();
    // Two senders take a small machine whole; the short form leaves room for its neighbours.
    let (seconds, senders) = if long { (30, 2) } else { (3, 1) };
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook, vms: 2 }).unwrap();
    let configuration = lab.installation.configuration(Topology::Bridge, hook);
    lab.installation.configure(&format!("{configuration}datapath:\n  flowEntries: {ENTRIES}\n")).unwrap();
    let _echoes: Vec<_> = lab.vms.iter().map(|vm| Echo::start(&vm.namespace, &vm.name).unwrap()).collect();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let vip = lab.create_lb("front", &["--listener", "echo:7/tcp"]).unwrap();
    let listener = SocketAddrV4::new(vip, 7);
    let mut idle = open_many(lab.client(), listener.into(), IDLE).unwrap();
    idle.iter_mut().for_each(|connection| connection.echo(b"are you there?").unwrap());

    if long {
        for vm in &lab.vms {
            host::ignore(&vm.namespace, "eth0", flood::SOURCES).unwrap();
        }
    }
    let duration = Duration::from_secs(seconds);
    let plan = flood::Plan { neighbour: neighbour(&lab, vip), listener, rate: RATE, duration, senders };
    let (sent, newcomers) = thread::scope(|scope| {
        let flooding = scope.spawn(|| plan.run(lab.client()).unwrap());
        let newcomers = lab.client().enter(|| arrive(listener.into(), || flooding.is_finished())).unwrap();
        (flooding.join().unwrap(), newcomers)
    });
    let failed: Vec<_> = newcomers.iter().filter_map(|result| result.as_ref().err()).collect();
    let reasons = lab.installation.json(&["status"]).unwrap();
    println!(
        "{hook:?}: {} SYNs in {:?} ({:.0}/s) on {ENTRIES} entries: {} newcomers, {} failed; reasons {}, flows {}",
        sent.sent,
        sent.took,
        sent.rate(),
        newcomers.len(),
        failed.len(),
        reasons["reasons"],
        reasons["flows"],
    );
    for (index, connection) in idle.iter_mut().enumerate() {
        let answer = connection.echo(b"are you still there?");
        answer.unwrap_or_else(|error| panic!("idle connection {index}: {error:#}"));
    }
    assert!(failed.is_empty(), "newcomers failed: {failed:?}");
    assert!(newcomers.len() > 10 && sent.sent > u64::from(ENTRIES));
}

/// New clients come one after the other, as long as the flood lasts.
fn arrive(server: SocketAddr, is_over: impl Fn() -> bool) -> Vec<Result<Duration, String>> {
    let mut outcomes = Vec::new();
    while !is_over() {
        let began = Instant::now();
        let outcome = Connection::open(server).map_err(|error| error.to_string());
        let spoken = outcome
            .and_then(|mut connection| connection.echo(b"let me in").map_err(|error| format!("{error:#}")));
        outcomes.push(spoken.map(|()| began.elapsed()));
        thread::sleep(Duration::from_millis(20));
    }
    outcomes
}

#[test]
fn a_flood_breaks_no_idle_connection_and_lets_newcomers_in() {
    attack(Hook::Tc);
}
