//! The flow table when it is full, and when two flows want one tuple.

use lb_common::backend::BackendRef;
use lb_common::flow::Flow;
use lb_common::head::{Kind, State};
use lb_common::net::{Be16, Ipv4, Protocol};
use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, replied};
use lb_tests::packet::{Packet, flags};
use lb_tests::program::Verdict::Pass;
use lb_tests::program::{Given, Rig, backend, listener};

use crate::scene::*;

/// A connection of another client to the web, one half of it.
fn strange(client: u8, state: State, age: u16, now: u16) -> Flow<Ipv4> {
    Flow {
        key: key((Ipv4([198, 51, 100, client]), 1234), WEB, Protocol::Tcp),
        kind: Kind { state, reply: false, masquerade: false, at_egress: true, partial: false },
        address: SERVER.0,
        source_port: Be16::new(1234),
        destination_port: Be16::new(SERVER.1),
        backend: BackendRef::new(WEB_BACKEND, 1),
        next_hop: 0,
        last_seen: now.wrapping_sub(age),
    }
}

/// One bucket of four entries for everything.
fn one_bucket() -> Given {
    bridge().buckets(1)
}

fn at_server(sent: &Packet) -> Packet {
    sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER)
}

#[test]
fn where_all_are_live_the_newcomer_overflows_and_is_served() {
    one_bucket().at_ingress(|rig| {
        let now = rig.now();
        for client in 1..=4 {
            rig.put_flow(&strange(client, State::Established, 0, now));
        }
        rig.when(&syn()).then(Pass, &at_server(&syn()));
        assert_delta!(
            rig,
            opened(WEB_BACKEND),
            forwarded(WEB_BACKEND, &syn()),
            reason(Reason::Overflowed).times(2)
        );
        assert!(rig.is_marked(&web_key()));
        assert_eq!(rig.overflowed().len(), 2);
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(WEB));
        rig.when(&ack()).then(Pass, &at_server(&ack()));
        assert_delta!(rig, forwarded(WEB_BACKEND, &ack()), replied(WEB_BACKEND, &syn_ack()));
        assert!(rig.overflowed().iter().all(|flow| flow.kind.state == State::Established));
        for client in 1..=4 {
            assert!(rig.flow(&strange(client, State::Established, 0, 0).key).is_some(), "client {client}");
        }
    });
}

#[test]
fn the_dead_go_first_then_the_expired_then_the_oldest_half_open() {
    one_bucket().at_ingress(|rig| {
        let now = rig.now();
        let live = strange(1, State::Established, 0, now);
        let half_open = strange(2, State::Opening, 20, now);
        let expired = strange(3, State::Established, 3360, now);
        let dead =
            Flow { backend: BackendRef::new(WEB_BACKEND, 9), ..strange(4, State::Established, 0, now) };
        for flow in [live, half_open, expired, dead] {
            rig.put_flow(&flow);
        }
        rig.when(&syn()).then(Pass, &at_server(&syn()));
        let clients = |rig: &mut Rig| {
            let mut clients: Vec<_> = rig.forward_flows().iter().map(|flow| flow.key.source.0[3]).collect();
            clients.sort_unstable();
            clients
        };
        assert_eq!(clients(rig), [1, 2, CLIENT.0.0[3]]);
        // The next one takes the half-open stranger's place before that of the client just opened.
        let second = (Ipv4([198, 51, 100, 55]), 40_001);
        rig.when(&syn().from(second)).then_is(Pass);
        assert!(!clients(rig).contains(&2));
        assert!(clients(rig).contains(&1));
    });
}

#[test]
fn of_two_half_open_the_older_goes() {
    one_bucket().at_ingress(|rig| {
        let now = rig.now();
        for (client, age) in [(1, 3), (2, 20), (3, 19), (4, 2)] {
            rig.put_flow(&strange(client, State::Opening, age, now));
        }
        rig.when(&syn()).then_is(Pass);
        let mut left: Vec<_> = rig.forward_flows().iter().map(|flow| flow.key.source.0[3]).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 4, CLIENT.0.0[3]]);
        assert_eq!(rig.delta().of(Reason::Overflowed), 0);
    });
}

#[test]
fn a_flood_of_syns_evicts_no_established_connection() {
    const CONNECTIONS: u16 = 40;
    bridge().at_ingress(|rig| {
        let ports = 10_000..10_000 + CONNECTIONS;
        for port in ports.clone() {
            let client = (CLIENT.0, port);
            rig.when(&syn().from(client)).then_is(Pass);
            rig.at_egress(&syn_ack().to(client)).then_is(Pass);
            rig.when(&ack().from(client)).then_is(Pass);
        }
        for flood in 0..4000_u16 {
            let [high, low] = flood.to_be_bytes();
            rig.when(&syn().from((Ipv4([198, 18, high, low]), 7))).then_is(Pass);
            rig.when(&syn().from((Ipv4([198, 18, high, low]), 7)).tcp(flags::ACK)).then_is(Pass);
        }
        rig.delta();
        for port in ports {
            let client = (CLIENT.0, port);
            let sent = ack().from(client);
            rig.when(&sent).then(Pass, &at_server(&sent));
            rig.at_egress(&syn_ack().to(client)).then(Pass, &syn_ack().to(client).from(WEB));
        }
        let (forward, reply) = (
            forwarded(WEB_BACKEND, &ack()).times(CONNECTIONS.into()),
            replied(WEB_BACKEND, &syn_ack()).times(CONNECTIONS.into()),
        );
        assert_delta!(rig, forward, reply);
    });
}

/// A second VIP port in front of the same server port, as backend 3 of listener 2.
fn second_listener() -> Given {
    bridge()
        .listener(listener((VIP, 8000), Protocol::Tcp).index(2).served_by(&[OTHER_BACKEND]))
        .backend(OTHER_BACKEND, in_the_bridge(backend(SERVER, SERVER_MAC)).of_listener(2))
}

#[test]
fn two_listeners_on_one_server_do_not_share_a_client_port() {
    second_listener().at_ingress(|rig| {
        rig.when(&syn()).then(Pass, &at_server(&syn()));
        rig.delta();
        rig.when(&syn().to((VIP, 8000))).then_dropped();
        assert_delta!(rig, reason(Reason::FlowConflict));
        // The first one's answers are still its own.
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(WEB));
    });
}

#[test]
fn a_client_port_whose_flow_overflowed_is_not_shared_once_there_is_room_in_its_bucket() {
    second_listener().buckets(1).at_ingress(|rig| {
        let now = rig.now();
        for client in 1..=4 {
            rig.put_flow(&strange(client, State::Established, 0, now));
        }
        rig.when(&syn()).then(Pass, &at_server(&syn()));
        assert_eq!(rig.overflowed().len(), 2);
        // The crowd is over, the flow beyond it is not.
        rig.age_all(4000);
        rig.delta();
        rig.when(&syn().to((VIP, 8000))).then_dropped();
        assert_delta!(rig, reason(Reason::FlowConflict));
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from(WEB));
    });
}

#[test]
fn on_a_conflict_another_backend_is_taken() {
    const THIRD: u32 = 4;
    let both = listener((VIP, 8000), Protocol::Tcp).index(2).served_by(&[OTHER_BACKEND, THIRD]);
    let third = in_the_bridge(backend(OTHER_SERVER, OTHER_MAC)).of_listener(2);
    second_listener().listener(both).backend(THIRD, third).at_ingress(|rig| {
        let mut conflicts = 0;
        for port in 5000..5064 {
            let client = (CLIENT.0, port);
            rig.when(&syn().from(client)).then_is(Pass);
            let sent = syn().from(client).to((VIP, 8000));
            let seen = rig.when(&sent);
            if seen.is(Pass) {
                seen.then(Pass, &sent.clone().ethernet(CLIENT_MAC, OTHER_MAC).to(OTHER_SERVER));
            } else {
                conflicts += 1;
            }
        }
        // Eight are drawn, each of which is the same backend again half of the time.
        assert!(conflicts <= 4, "{conflicts} of 64 found no other backend");
    });
}

#[test]
fn a_closed_flows_tuple_is_free_again() {
    second_listener().at_ingress(|rig| {
        rig.when(&syn()).then_is(Pass);
        rig.when(&to_web(flags::RST)).then_is(Pass);
        rig.delta();
        let sent = syn().to((VIP, 8000));
        rig.when(&sent).then(Pass, &at_server(&sent));
        assert_delta!(rig, opened(OTHER_BACKEND), forwarded(OTHER_BACKEND, &sent));
        rig.at_egress(&syn_ack()).then(Pass, &syn_ack().from((VIP, 8000)));
    });
}

/// Opens a connection of the client's from this port, as far as it goes. Says whether it did.
fn establish(rig: &mut Rig, port: u16) -> bool {
    let client = (CLIENT.0, port);
    if !rig.when(&syn().from(client)).is(Pass) {
        return false;
    }
    rig.at_egress(&syn_ack().to(client)).then_is(Pass);
    rig.when(&ack().from(client)).then_is(Pass);
    true
}

/// The ports whose connections still go their way in both directions.
fn living(rig: &mut Rig, ports: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let lives = |port: &u16| {
        let (sent, back) = (ack().from((CLIENT.0, *port)), from_web(flags::ACK).to((CLIENT.0, *port)));
        rig.when(&sent).then(Pass, &at_server(&sent));
        let seen = rig.at_egress(&back);
        seen.then_is(Pass);
        seen.frame[26..30] == VIP.0
    };
    ports.into_iter().filter(lives).collect()
}

#[test]
fn half_as_many_flows_again_as_the_table_holds_live_in_the_overflow_map() {
    const ENTRIES: u16 = 256;
    let ports = 10_000..10_000 + ENTRIES * 3 / 4;
    bridge().buckets(u32::from(ENTRIES) / 4).overflow(u32::from(ENTRIES) * 2).at_ingress(|rig| {
        // Idle for two minutes short of its time-out.
        assert!(establish(rig, 9999));
        let idle = key((CLIENT.0, 9999), WEB, Protocol::Tcp);
        rig.age_flow(&idle, 3300);
        rig.age_flow(&key(SERVER, (CLIENT.0, 9999), Protocol::Tcp), 3300);
        assert_eq!(ports.clone().filter(|port| establish(rig, *port)).count(), ports.len());
        assert!(rig.delta().of(Reason::Overflowed) > 100);
        assert_eq!(living(rig, ports.clone().chain([9999])).len(), ports.len() + 1);
        let delta = rig.delta();
        assert_eq!((delta.of_flows(), delta.of(Reason::TableFull)), (0, 0), "{delta:?}");
    });
}

#[test]
fn after_a_crowd_newcomers_find_the_table_empty_again() {
    bridge().buckets(16).overflow(256).at_ingress(|rig| {
        let crowd: Vec<_> = (10_000..10_060).collect();
        assert!(crowd.iter().all(|port| establish(rig, *port)));
        assert!(rig.delta().of(Reason::Overflowed) > 20);
        rig.age_all(4000);
        let newcomers = 20_000..20_016;
        assert!(newcomers.clone().all(|port| establish(rig, port)));
        // Expired entries of the table are taken before anything goes to the overflow map.
        assert_eq!(rig.delta().of(Reason::Overflowed), 0);
        assert_eq!(living(rig, newcomers).len(), 16);
    });
}

#[test]
fn a_small_overflow_map_loses_the_oldest_and_every_newcomer_is_served() {
    bridge().buckets(1).overflow(64).at_ingress(|rig| {
        for port in 10_000..10_200 {
            assert!(establish(rig, port), "{port}");
        }
        // Those that are in the table stay whatever comes; connections that were pushed out are picked up again
        // by their next packet.
        assert_eq!(living(rig, [10_000, 10_001, 10_199]).len(), 3);
    });
}
