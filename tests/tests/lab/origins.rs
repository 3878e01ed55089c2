//! Wherever a client is, and whatever changes around it, its flows go on.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lb_tests::lab::client::connection::{echo_datagram, open_many, pattern};
use lb_tests::lab::client::exchange::exchange_during;
use lb_tests::lab::namespace::Namespace;
use lb_tests::lab::server::echo;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec, host};

use crate::fixture::{Fixture, SOON, everywhere};

everywhere!(
    vms_dial_vips_with_both_protocols_and_in_bulk,
    flows_follow_a_client_whose_mac_changes,
    forgotten_neighbours_cost_one_datagram_at_most,
    no_datagram_is_lost_while_the_agent_is_killed_and_another_takes_over,
);

fn vms_dial_vips_with_both_protocols_and_in_bulk(fixture: &mut Fixture) {
    let server = fixture.at(echo::PORT);
    let errors =
        || -> u64 { fixture.lab.vms.iter().map(|vm| host::checksum_errors(&vm.namespace).unwrap()).sum() };
    let before = errors();
    for vm in &fixture.lab.vms {
        // The chance that one of three VMs is not among so many is 10^-7; the same ports are not dialled again.
        let mut connections = open_many(&vm.namespace, server, 40).unwrap();
        let reached: BTreeSet<_> = connections.iter().map(|connection| connection.vm.clone()).collect();
        assert!(reached.contains(&vm.name) && reached.len() > 1, "{} reaches {reached:?}", vm.name);
        for connection in &mut connections {
            // Long enough for super-frames, and odd.
            connection.echo(&pattern(100_001)).unwrap();
        }
        for size in [0, 1, 63, 1472] {
            for _ in 0..6 {
                echo_datagram(&vm.namespace, server, &pattern(size)).unwrap();
            }
        }
    }
    assert_eq!(errors(), before);
}

fn flows_follow_a_client_whose_mac_changes(fixture: &mut Fixture) {
    let client = fixture.lab.client();
    let before = client.mac("eth0").unwrap();
    // As routers do that take over from one another, it tells its neighbours.
    client.sysctl("ipv4/conf/eth0/arp_notify", "1").unwrap();
    let mut connections = open_many(client, fixture.at(echo::PORT), 2).unwrap();
    for mac in ["02:00:00:00:02:50", &before] {
        client.ip(&["link", "set", "eth0", "address", mac]).unwrap();
        for connection in &mut connections {
            // A flow is looked after every two seconds; TCP repeats itself ever more rarely.
            connection.be_patient(SOON).unwrap();
            connection.echo(&pattern(10_000)).unwrap();
        }
    }
    client.sysctl("ipv4/conf/eth0/arp_notify", "0").unwrap();
    assert_eq!(fixture.ask(60).len(), 3);
}

fn forgotten_neighbours_cost_one_datagram_at_most(fixture: &mut Fixture) {
    let lab = &fixture.lab;
    let places = lab.vms.iter().map(|vm| &vm.namespace).chain([lab.node(), lab.client()]);
    let places: Vec<&Namespace> = places.collect();
    let mut connections = open_many(lab.client(), fixture.at(echo::PORT), 6).unwrap();
    for place in places {
        // Where neighbours come back as fast as they go, `ip` gives up after ten rounds.
        let forget = || (0..5).find_map(|_| place.ip(&["neighbour", "flush", "all"]).ok()).expect("a flush");
        let ((), exchanged) = exchange_during(lab.client(), fixture.at(echo::PORT), forget).unwrap();
        assert!(exchanged.lost <= 1, "after {} forgot its neighbours: {exchanged:?}", place.name());
        for connection in &mut connections {
            connection.echo(b"still there?").unwrap();
        }
    }
}

fn no_datagram_is_lost_while_the_agent_is_killed_and_another_takes_over(fixture: &mut Fixture) {
    let (client, server) = (fixture.lab.client().clone(), fixture.at(echo::PORT));
    let replace = || {
        fixture.agent.take().unwrap().kill().unwrap();
        // The programs of the new agent take the places of the old ones.
        fixture.agent = Some(fixture.lab.start_agent().unwrap());
        fixture.agent.take().unwrap().stop().unwrap();
        fixture.agent = Some(fixture.lab.start_agent().unwrap());
    };
    let ((), exchanged) = exchange_during(&client, server, replace).unwrap();
    assert_eq!(exchanged.lost, 0, "{exchanged:?}");
    assert!(exchanged.sent > 100, "{exchanged:?}");
}

/// Two uplinks in the bridge, a client at each; the first client has a second cable to yet another uplink.
fn two_uplinks(hook: Hook) {
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook, vms: 2 }).unwrap();
    let other = Namespace::create(format!("{}client2", lab.id().prefix())).unwrap();
    lab.add_uplink(&other, "eth0", "up1").unwrap();
    lab.add_uplink(lab.client(), "eth1", "up2").unwrap();
    // Until it is used, the second cable does not know of the first one's address.
    lab.client().ip(&["link", "set", "eth1", "down"]).unwrap();
    other.ip(&["address", "add", "192.0.2.51/24", "dev", "eth0"]).unwrap();
    let configuration = lab.installation.configuration(Topology::Bridge, hook);
    let uplinks = configuration.replace("uplinks: [up0]", "uplinks: [up0, up1, up2]");
    assert_ne!(uplinks, configuration);
    lab.installation.configure(&uplinks).unwrap();
    let _echoes: Vec<_> =
        lab.vms.iter().map(|vm| echo::Echo::start(&vm.namespace, &vm.name).unwrap()).collect();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let vip = lab.create_lb("front", &["--listener", "echo:7/tcp", "--listener", "echo-udp:7/udp"]).unwrap();
    let server = SocketAddr::from((vip, echo::PORT));
    let both = || [lab.client(), &other].into_iter().map(|client| open_many(client, server, 4));
    let mut connections: Vec<_> = both().flat_map(Result::unwrap).collect();
    for connection in &mut connections {
        connection.echo(&pattern(100_001)).unwrap();
    }
    for client in [lab.client(), &other] {
        echo_datagram(client, server, b"by the other uplink").unwrap();
    }

    // The first client moves to its other cable, with its addresses.
    let mac = lab.client().mac("eth0").unwrap();
    let address = format!("{}/24", Topology::Bridge.client());
    let client = lab.client();
    client.sysctl("ipv4/conf/eth1/arp_notify", "1").unwrap();
    client.ip(&["link", "set", "eth0", "down"]).unwrap();
    client.ip(&["address", "del", &address, "dev", "eth0"]).unwrap();
    client.ip(&["link", "set", "eth1", "address", &mac]).unwrap();
    client.ip(&["address", "add", &address, "dev", "eth1"]).unwrap();
    client.ip(&["link", "set", "eth1", "up"]).unwrap();
    for connection in &mut connections {
        connection.echo(&pattern(100_001)).unwrap();
    }
    echo_datagram(client, server, b"moved").unwrap();
    let status = lab.installation.json(&["status"]).unwrap();
    assert_eq!(status["interfaces"].as_array().unwrap().iter().filter(|i| i["role"] == "uplink").count(), 3);
}

#[test]
fn clients_on_two_uplinks_are_answered_where_they_are_and_may_move_by_tc() {
    two_uplinks(Hook::Tc);
}

#[test]
fn clients_on_two_uplinks_are_answered_where_they_are_and_may_move_by_xdp() {
    two_uplinks(Hook::Xdp);
}
