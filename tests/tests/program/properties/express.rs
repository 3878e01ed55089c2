//! The express lane decides as the journey does. The second instance, which looks at packets, has no such lane: both
//! get the same packets, one after the other, and have to do the same with each.

use lb_tests::packet::flags::{ACK, FIN, PSH, RST, SYN};
use lb_tests::skip::skip;

use lb_common::vip::DROP_UNSERVED;
use lb_tests::packet::Checksum;
use lb_tests::program::uplink;

use super::*;

/// What is sent, by one of a few clients.
#[derive(Clone, Copy, Debug)]
struct Step {
    client: u8,
    port: u16,
    udp: bool,
    answer: bool,
    tcp_flags: u8,
    /// What is wrong or odd about it, if anything: see [`Step::frame`].
    oddity: u8,
    payload: usize,
    /// Is a datagram expected to begin a flow?
    fresh: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        3 => Just(SYN), 3 => Just(SYN | ACK), 8 => Just(ACK), 4 => Just(ACK | PSH),
        1 => Just(ACK | FIN), 1 => Just(RST), 1 => 0_u8..64,
    ];
    let payload = prop_oneof![4 => 0_usize..40, 1 => 1400_usize..1700];
    (0_u8..4, 0_u16..3, any::<bool>(), any::<bool>(), flags, 0_u8..40, payload, any::<bool>()).prop_map(
        |(client, port, udp, answer, tcp_flags, oddity, payload, fresh)| Step {
            client,
            port: 40_000 + port,
            udp,
            answer,
            tcp_flags,
            oddity,
            payload,
            fresh,
        },
    )
}

impl Step {
    fn frame(&self) -> Vec<u8> {
        // No two clients have a port in common: where it may change, chance finds another one.
        let port = self.port + 100 * u16::from(self.client);
        let client = (Ipv4([198, 51, 100, 10 + self.client]), port);
        let packet = match (self.answer, self.udp) {
            (false, false) => to_web(self.tcp_flags).from(client),
            (false, true) => packet().ethernet(CLIENT_MAC, NODE_MAC).from(client).to(DNS).udp(),
            (true, false) => {
                packet().ethernet(SERVER_MAC, NODE_MAC).from(SERVER).to(client).tcp(self.tcp_flags)
            }
            (true, true) => packet().ethernet(SERVER_MAC, NODE_MAC).from(RESOLVER).to(client).udp(),
        };
        let packet = packet.payload(&vec![0x5a; self.payload]);
        match self.oddity {
            0 => packet.ttl(1),
            1 => packet.ttl(0),
            2 => packet.options(&[1, 1, 1, 0]),
            3 => packet.partial(),
            4 => packet.checksum(Checksum::Is(0)),
            5 => packet.ethernet(CLIENT_MAC, OTHER_MAC),
            6 => packet.tagged(7),
            7 => packet.padded(9),
            8 => return cut(packet, 50),
            9 => return cut(packet, 40),
            10 => packet.to((VIP, 81)),
            11 => packet.to((SERVER.0, 99)),
            12 => packet.ethernet(OTHER_MAC, NODE_MAC),
            _ => packet,
        }
        .bytes()
    }
}

/// Connections of three clients, so that there are flows that the lane takes.
fn handshakes() -> impl Iterator<Item = Step> {
    let plain = Step {
        client: 0,
        port: 40_000,
        udp: false,
        answer: false,
        tcp_flags: SYN,
        oddity: 99,
        payload: 0,
        fresh: false,
    };
    (0..3).flat_map(move |client| {
        let step = |answer, tcp_flags| Step { client, answer, tcp_flags, ..plain };
        [step(false, SYN), step(true, SYN | ACK), step(false, ACK), step(false, ACK), step(true, ACK)]
    })
}

fn cut(packet: Packet, length: usize) -> Vec<u8> {
    let mut frame = packet.bytes();
    frame.truncate(length);
    frame
}

/// Runs the same packets through both, at the ingress or, for answers of a VM host, at the egress.
fn compare(given: Given, hook: Hook, answers: Hook) {
    compare_all(given, hook, answers, &step());
}

fn compare_all(given: Given, hook: Hook, answers: Hook, step: &impl Strategy<Value = Step>) {
    // How many refusals are told is limited by time.
    let given = &given.vip_with(VIP, DROP_UNSERVED);
    let traced = match given.traced(hook) {
        Ok(traced) => RefCell::new(traced),
        Err(reason) => return skip(&reason),
    };
    check_one_of(40, given, &[hook], &vec(step, 1..24), |rig, steps| {
        let traced = &mut *traced.borrow_mut();
        rig.forget_flows();
        traced.forget_flows();
        for (step, at) in handshakes().map(|step| (step, if step.answer { answers } else { hook })) {
            prop_assert_eq!(rig.at(at, &step.frame()), traced.at(at, &step.frame()), "{:?}", step);
        }
        for step in &steps {
            let (at, frame) = (if step.answer { answers } else { hook }, step.frame());
            if at.runs(&frame) {
                rig.expect_fresh(step.fresh);
                prop_assert_eq!(rig.at(at, &frame), traced.at(at, &frame), "{:?} of {:?}", step, steps);
            }
        }
        prop_assert_eq!(format!("{:?}", rig.delta()), format!("{:?}", traced.delta()), "{:?}", steps);
        Ok(())
    });
}

#[test]
fn the_express_lane_of_a_router_decides_as_the_journey_does() {
    let router = router().port(uplink(NODE_MAC).mtu(1500).partial_checksums().accounted());
    compare(router, Hook::Xdp, Hook::Xdp);
}

#[test]
fn the_express_lane_of_a_router_that_accounts_for_nothing_decides_as_the_journey_does() {
    compare(router().port(uplink(NODE_MAC).mtu(1500)), Hook::Xdp, Hook::Xdp);
}

#[test]
fn the_express_lane_on_a_stick_decides_as_the_journey_does() {
    // Where a connection that has ended is dialled again, its new port to the server is drawn.
    let lasting = step().prop_map(|step| Step { tcp_flags: step.tcp_flags & !(FIN | RST), ..step });
    // And where the table is so small that a flow loses its place.
    let stick = stick().port(uplink(NODE_MAC).mtu(1500)).buckets(4096);
    compare_all(stick.clone(), Hook::Xdp, Hook::Xdp, &lasting);
    compare_all(stick, Hook::TcIngress, Hook::TcIngress, &lasting);
}

#[test]
fn the_express_lane_of_a_vm_host_decides_as_the_journey_does() {
    let bridge = bridge().port(uplink(NODE_MAC).in_bridge(BRIDGE).mtu(1500));
    compare(bridge.clone(), Hook::Xdp, Hook::TcEgress);
    compare(bridge, Hook::TcIngress, Hook::TcEgress);
}
