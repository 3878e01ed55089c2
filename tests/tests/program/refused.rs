//! What a VIP does not serve never reaches the host: it is answered with a refusal, or dropped by name.

use lb_common::net::{Ipv4, Protocol};
use lb_common::reason::Reason;
use lb_common::vip::{ANSWER_ECHO, DROP_UNSERVED};
use lb_tests::assert_delta;
use lb_tests::counters::{reason, refused};
use lb_tests::packet::{Endpoint, Packet, flags, packet, port_unreachable};
use lb_tests::program::Verdict::{Back, Drop, Pass};
use lb_tests::program::{Hook, backend, listener};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use crate::scene::*;

const CLOSED: Endpoint = (VIP, 81);

/// The RST for a segment without ACK that fills `length` numbers from 1 on.
fn reset(from: Endpoint, length: u32) -> Packet {
    packet()
        .ethernet(NODE_MAC, CLIENT_MAC)
        .from(from)
        .to(CLIENT)
        .tcp_numbered(flags::RST | flags::ACK, 0, 1 + length)
        .window(0)
        .unfragmentable()
}

#[test]
fn a_syn_to_a_port_without_listener_is_reset() {
    bridge().at_ingress(|rig| {
        rig.when(&syn().to(CLOSED)).then(Back, &reset(CLOSED, 1));
        assert_delta!(rig, reason(Reason::NoListenerReset));
        assert!(rig.flows().is_empty());
    });
}

#[test]
fn what_is_reset_may_carry_options_and_data() {
    bridge().at_ingress(|rig| {
        let sent = syn().to(CLOSED).tcp_options(&[2, 4, 5, 0xb4]).payload(b"fast open").options(&[1; 8]);
        rig.when(&sent).then(Back, &reset(CLOSED, 1 + 9));
        let last = to_web(flags::FIN).to(CLOSED).payload(b"x");
        rig.when(&last).then(Back, &reset(CLOSED, 1 + 1));
        // Ethernet's padding is no data.
        rig.when(&syn().to(CLOSED).padded(6)).then(Back, &reset(CLOSED, 1));
    });
}

#[test]
fn a_segment_with_ack_is_reset_with_the_number_that_it_expects() {
    bridge().at_ingress(|rig| {
        let sent = ack().to(CLOSED).tcp_numbered(flags::ACK, 5, 0xdead_beef).payload(b"hello");
        let expected = reset(CLOSED, 0).tcp_numbered(flags::RST, 0xdead_beef, 0).window(0);
        rig.when(&sent).then(Back, &expected);
    });
}

#[test]
fn a_datagram_to_a_port_without_listener_is_unreachable() {
    bridge().at_ingress(|rig| {
        let sent = query().to((VIP, 54)).identification(0x4242);
        rig.when(&sent).then(Back, &port_unreachable(&sent).unfragmentable());
        let empty = sent.payload(b"");
        rig.when(&empty).then(Back, &port_unreachable(&empty).unfragmentable());
        let long = query().to((VIP, 54)).payload(&[7; 1400]);
        rig.when(&long).then(Back, &port_unreachable(&long).unfragmentable());
        assert_delta!(rig, reason(Reason::NoListenerUnreachable).times(3));
    });
}

#[test]
fn the_other_protocols_listener_does_not_count() {
    bridge().at_ingress(|rig| {
        rig.when(&syn().to(DNS)).then(Back, &reset(DNS, 1));
        let sent = query().to(WEB);
        rig.when(&sent).then(Back, &port_unreachable(&sent).unfragmentable());
    });
}

#[test]
fn a_reset_is_never_answered() {
    bridge().at_ingress(|rig| {
        for tcp_flags in [flags::RST, flags::RST | flags::ACK] {
            rig.when(&to_web(tcp_flags).to(CLOSED)).then_dropped();
        }
        assert_delta!(rig, reason(Reason::NoListenerDropped).times(2));
        rig.when(&to_web(flags::RST)).then_dropped();
        assert_delta!(rig, refused(WEB_LISTENER), reason(Reason::NoBackendDropped));
    });
}

#[test]
fn nobody_is_answered_at_an_address_that_is_nobodys() {
    bridge().at_ingress(|rig| {
        for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 251], [255, 255, 255, 255]] {
            rig.when(&syn().from((Ipv4(source), 1)).to(CLOSED)).then_dropped();
        }
        assert_delta!(rig, reason(Reason::ForeignSource).times(4));
    });
}

#[test]
fn a_vip_may_drop_what_it_does_not_serve() {
    bridge().vip_with(VIP, ANSWER_ECHO | DROP_UNSERVED).at_ingress(|rig| {
        rig.when(&syn().to(CLOSED)).then_dropped();
        rig.when(&query().to((VIP, 54))).then_dropped();
        assert_delta!(rig, reason(Reason::NoListenerDropped).times(2));
    });
}

#[test]
fn a_listener_without_slots_resets_and_is_unreachable() {
    let web = listener(WEB, Protocol::Tcp).index(WEB_LISTENER);
    let dns = listener(DNS, Protocol::Udp).index(DNS_LISTENER);
    bridge().listener(web).listener(dns).at_ingress(|rig| {
        rig.when(&syn()).then(Back, &reset(WEB, 1));
        assert_delta!(rig, refused(WEB_LISTENER), reason(Reason::NoBackendReset));
        rig.when(&query()).then(Back, &port_unreachable(&query()).unfragmentable());
        assert_delta!(rig, refused(DNS_LISTENER), reason(Reason::NoBackendUnreachable));
        assert!(rig.flows().is_empty());
    });
}

#[test]
fn a_listener_whose_backends_all_left_resets_new_connections() {
    let left = [
        in_the_bridge(backend(SERVER, SERVER_MAC)).draining(),
        in_the_bridge(backend(SERVER, SERVER_MAC)).dead(),
    ];
    for backend in left {
        bridge().backend(WEB_BACKEND, backend).at_ingress(|rig| {
            rig.when(&syn()).then(Back, &reset(WEB, 1));
            assert_delta!(rig, refused(WEB_LISTENER), reason(Reason::NoBackendReset));
        });
    }
}

#[test]
fn a_listener_may_drop_what_nobody_serves() {
    let web = listener(WEB, Protocol::Tcp).index(WEB_LISTENER).drop_unserved();
    bridge().listener(web).at_ingress(|rig| {
        rig.when(&syn()).then_dropped();
        assert_delta!(rig, refused(WEB_LISTENER), reason(Reason::NoBackendDropped));
    });
}

#[test]
fn a_backend_that_left_is_skipped_while_others_are_ready() {
    let web = listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(&[WEB_BACKEND, OTHER_BACKEND]);
    bridge()
        .listener(web)
        .backend(WEB_BACKEND, in_the_bridge(backend(SERVER, SERVER_MAC)).dead())
        .backend(OTHER_BACKEND, in_the_bridge(backend(OTHER_SERVER, OTHER_MAC)))
        .at_ingress(|rig| {
            // Half of the slots are the dead one's, and a few are tried for each client: until the agent has
            // written the new table, one client in 16 may find dead ones only.
            let mut served = 0;
            for port in 1000..1064 {
                let sent = syn().from((CLIENT.0, port));
                let outcome = rig.when(&sent);
                if outcome.is(Pass) {
                    outcome.then(Pass, &sent.clone().ethernet(CLIENT_MAC, OTHER_MAC).to(OTHER_SERVER));
                    served += 1;
                }
            }
            assert!(served >= 52, "{served} of 64 were served");
        });
}

#[test]
fn other_protocols_to_a_vip_are_dropped_by_name() {
    const PROTOCOLS: [u8; 7] = [0, 2, 4, 41, 47, 50, 132];
    bridge().at_ingress(|rig| {
        for number in PROTOCOLS {
            rig.when(&query().protocol(number).payload(&[number; 40])).then_dropped();
        }
        assert_delta!(rig, reason(Reason::ProtocolUnknown).times(PROTOCOLS.len() as u64));
    });
}

#[test]
fn headers_that_end_too_early_are_dropped_by_name() {
    bridge().at_ingress(|rig| {
        // Protocol numbers of TCP and UDP, with less than their headers.
        rig.when(&query().protocol(6).payload(&[0; 19])).then_dropped();
        rig.when(&query().protocol(17).payload(&[0; 7])).then_dropped();
        rig.when(&query().protocol(17).payload(&[])).then_dropped();
        assert_delta!(rig, reason(Reason::Malformed).times(3));
    });
}

#[test]
fn answers_are_bounded() {
    const REQUESTS: u64 = 3000;
    for hook in Hook::INGRESS {
        bridge().at(hook, |rig| {
            // The budget is each CPU's own.
            let mut here = CpuSet::new();
            here.set(sched_getcpu().expect("a CPU")).expect("a CPU's number");
            sched_setaffinity(Pid::from_raw(0), &here).expect("stay on this CPU");
            let started = std::time::Instant::now();
            let dropped = (0..REQUESTS).filter(|_| rig.when(&syn().to(CLOSED)).is(Drop)).count() as u64;
            // A token is earned in a millisecond (2^20 ns); the clock is some milliseconds coarse.
            let earned = 1000 + started.elapsed().as_millis() as u64 + 20;
            let delta = rig.delta();
            let (answered, silent) = (delta.of(Reason::NoListenerReset), delta.of(Reason::NoListenerDropped));
            assert_eq!((silent, answered + silent), (dropped, REQUESTS));
            assert!(
                (1000..=earned).contains(&answered),
                "{answered} of {REQUESTS} answered, {earned} earned"
            );
        });
    }
}

#[test]
fn a_vip_dialled_from_where_nobody_can_be_is_neither_opened_nor_answered() {
    let sources = [VIP.0, [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], [0, 0, 0, 0]];
    bridge().at_ingress(|rig| {
        for source in sources {
            let from = (Ipv4(source), 40_000);
            for packet in [syn().from(from), query().from(from), syn().from(from).to((VIP, 81))] {
                rig.when(&packet).then_dropped();
                assert_delta!(rig, reason(Reason::ForeignSource));
            }
        }
        assert_eq!(rig.flows().len(), 0);
    });
}
