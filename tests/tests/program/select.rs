//! The choice of a backend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lb_common::listener::{LEAST_CONNECTIONS, MAGLEV, RANDOM};
use lb_common::net::{Ipv4, Mac, Protocol};
use lb_tests::packet::{Endpoint, Packet};
use lb_tests::program::Verdict::Pass;
use lb_tests::program::{Backend, Given, Hook, Listener, Rig, backend, listener};

use crate::scene::*;

/// The web listener, whose slots are shared by these backends.
fn web(backends: &[u32]) -> Listener {
    listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(backends)
}

fn other() -> Backend {
    in_the_bridge(backend(OTHER_SERVER, OTHER_MAC).of_listener(WEB_LISTENER))
}

/// The web served by two backends.
fn two_servers(listener: Listener) -> Given {
    bridge().listener(listener).backend(OTHER_BACKEND, other()).buckets(1024)
}

fn dial(client: Endpoint) -> Packet {
    syn().from(client)
}

/// Whom a client's new connection goes to.
fn served(rig: &mut Rig, client: Endpoint) -> Mac {
    let seen = rig.when(&dial(client));
    assert!(seen.is(Pass), "{seen:?}");
    Mac(seen.frame[..6].try_into().unwrap())
}

/// How many of these new connections go to the first server.
fn of_first(rig: &mut Rig, clients: impl Iterator<Item = Endpoint>) -> usize {
    clients.filter(|&client| served(rig, client) == SERVER_MAC).count()
}

fn ports(count: u16) -> impl Iterator<Item = Endpoint> {
    (10_000..10_000 + count).map(|port| (CLIENT.0, port))
}

#[test]
fn every_selection_spreads_by_the_tables_shares() {
    for selection in [MAGLEV, RANDOM, LEAST_CONNECTIONS] {
        // Three slots of four: a standard deviation is 9 of 400.
        let slots = [WEB_BACKEND, WEB_BACKEND, WEB_BACKEND, OTHER_BACKEND];
        two_servers(web(&slots).selection(selection)).at(Hook::TcIngress, |rig| {
            // Loads alike for their weights: the table decides alone.
            for (id, weight) in [(WEB_BACKEND, 3_u64), (OTHER_BACKEND, 1)] {
                rig.set_load(id, weight << 40);
            }
            rig.set_backend(WEB_BACKEND, in_the_bridge(backend(SERVER, SERVER_MAC)).weight(3));
            rig.set_backend(OTHER_BACKEND, other().weight(1));
            let first = of_first(rig, ports(400));
            assert!((240..=360).contains(&first), "selection {selection}: {first} of 400");
        });
    }
}

#[test]
fn random_selection_is_not_bound_to_the_tuple() {
    two_servers(web(&[WEB_BACKEND, OTHER_BACKEND]).selection(RANDOM)).at(Hook::TcIngress, |rig| {
        let mut seen = BTreeSet::new();
        for _ in 0..64 {
            seen.insert(served(rig, CLIENT).0);
            for key in rig.flows().into_iter().map(|flow| flow.key).collect::<Vec<_>>() {
                rig.remove_flow(&key);
            }
        }
        assert_eq!(seen, [SERVER_MAC.0, OTHER_MAC.0].into());
    });
}

#[test]
fn the_less_loaded_of_two_takes_a_new_flow_and_is_counted() {
    two_servers(web(&[WEB_BACKEND, OTHER_BACKEND]).selection(LEAST_CONNECTIONS)).at(Hook::TcIngress, |rig| {
        rig.set_load(WEB_BACKEND, 1_000_000);
        let first = of_first(rig, ports(400));
        // Only where both draws are the loaded one: a quarter.
        assert!((40..=160).contains(&first), "{first} of 400");
        let loads = [WEB_BACKEND, OTHER_BACKEND].map(|id| rig.load(id));
        assert_eq!(loads, [1_000_000 + first as u64, 400 - first as u64]);
    });
}

#[test]
fn loads_stay_level_without_the_agent() {
    two_servers(web(&[WEB_BACKEND, OTHER_BACKEND]).selection(LEAST_CONNECTIONS)).at(Hook::TcIngress, |rig| {
        let first = of_first(rig, ports(400));
        assert!(first.abs_diff(200) <= 12, "{first} of 400");
    });
}

#[test]
fn a_client_with_affinity_keeps_its_backend() {
    let affine = web(&[WEB_BACKEND, OTHER_BACKEND]).selection(RANDOM).affinity(100);
    two_servers(affine).at_ingress(|rig| {
        let mut first = BTreeMap::new();
        for (number, (_, port)) in (0..200_u16).zip(ports(200)) {
            let client = Ipv4([198, 51, 100, 1 + (number % 40) as u8]);
            let backend = served(rig, (client, port));
            assert_eq!(*first.entry(client.0).or_insert(backend), backend);
        }
        // Forty clients on one of two servers each: one chance in 2^39 that all are on the same.
        let servers: BTreeSet<[u8; 6]> = first.values().map(|mac| mac.0).collect();
        assert_eq!((first.len(), servers.len()), (40, 2));
    });
}

#[test]
fn affinity_to_a_backend_that_takes_no_new_flows_is_over() {
    let affine = || web(&[WEB_BACKEND, OTHER_BACKEND]).affinity(100);
    for leaving in [Backend::draining, Backend::dead, |backend: Backend| backend.generation(2)] {
        two_servers(affine()).at(Hook::TcIngress, |rig| {
            let chosen = served(rig, (CLIENT.0, 1000));
            let (id, server, mac, left) = if chosen == SERVER_MAC {
                (WEB_BACKEND, SERVER, SERVER_MAC, OTHER_MAC)
            } else {
                (OTHER_BACKEND, OTHER_SERVER, OTHER_MAC, SERVER_MAC)
            };
            rig.set_backend(id, leaving(in_the_bridge(backend(server, mac))));
            let rest = if id == WEB_BACKEND { OTHER_BACKEND } else { WEB_BACKEND };
            rig.set_listener(&web(&[rest]).affinity(100));
            assert_eq!(served(rig, (CLIENT.0, 1001)), left);
            // And that one it keeps, though the other is back.
            rig.set_backend(id, in_the_bridge(backend(server, mac)));
            rig.set_listener(&affine().selection(RANDOM));
            for port in 1002..1022 {
                assert_eq!(served(rig, (CLIENT.0, port)), left);
            }
        });
    }
}

#[test]
fn new_flows_always_find_a_whole_table_while_tables_are_swapped() {
    const SWAPS: u32 = 50;
    let given = two_servers(web(&[WEB_BACKEND, OTHER_BACKEND]));
    given.at(Hook::TcIngress, |rig| {
        let dials = AtomicU32::new(0);
        let mut writer = rig.tables();
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for swap in 0..SWAPS {
                    let before = dials.load(Ordering::Relaxed);
                    // By turns both and one: half a table would send somebody to nobody.
                    let both = [WEB_BACKEND, OTHER_BACKEND];
                    writer.put(&web(if swap % 2 == 0 { &both[1..] } else { &both }));
                    let deadline = Instant::now() + Duration::from_secs(30);
                    while dials.load(Ordering::Relaxed) == before {
                        assert!(Instant::now() < deadline, "nobody dials");
                        std::thread::yield_now();
                    }
                }
            });
            while !writing.is_finished() {
                let [_, a, b, c] = dials.load(Ordering::Relaxed).to_be_bytes();
                served(rig, (Ipv4([198, 18 | a & 1, b, c]), 1000));
                dials.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(dials.load(Ordering::Relaxed) >= SWAPS);
    });
}
