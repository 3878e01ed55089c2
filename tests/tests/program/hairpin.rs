//! A VM dials a VIP that it serves itself.

use lb_common::reason::Reason;
use lb_tests::assert_delta;
use lb_tests::counters::{forwarded, opened, reason, replied};
use lb_tests::packet::{Packet, flags, packet};
use lb_tests::program::Verdict::Back;
use lb_tests::program::{Given, INTERFACE, backend, uplink, vm_port};

use crate::scene::*;

/// The VM's port is [`INTERFACE`], the VM is the web server.
fn own_port() -> Given {
    let here = backend(SERVER, SERVER_MAC).in_bridge(BRIDGE).on(INTERFACE).reply_at_egress();
    bridge().port(vm_port(NODE_MAC).in_bridge(BRIDGE)).backend(WEB_BACKEND, here)
}

/// The server dials the web.
fn dialled() -> Packet {
    packet().ethernet(SERVER_MAC, NODE_MAC).from((SERVER.0, 50_000)).to(WEB).tcp(flags::SYN)
}

#[test]
fn it_is_called_back_by_the_vip() {
    own_port().at_ingress(|rig| {
        let back = dialled().ethernet(NODE_MAC, SERVER_MAC).from((VIP, 50_000)).to(SERVER);
        rig.when(&dialled()).then(Back, &back);
        assert_delta!(rig, opened(WEB_BACKEND), forwarded(WEB_BACKEND, &dialled()), reason(Reason::Hairpin));
    });
}

#[test]
fn its_own_answer_comes_back_to_it() {
    own_port().at_ingress(|rig| {
        rig.when(&dialled()).then_is(Back);
        rig.delta();
        let answer = packet().ethernet(SERVER_MAC, NODE_MAC).from(SERVER).to((VIP, 50_000)).tcp(0x12);
        let expected = answer.clone().ethernet(NODE_MAC, SERVER_MAC).from(WEB).to((SERVER.0, 50_000));
        rig.when(&answer).then(Back, &expected);
        assert_delta!(rig, replied(WEB_BACKEND, &answer));
    });
}

#[test]
fn it_is_counted_once_a_flow() {
    own_port().at_ingress(|rig| {
        rig.when(&dialled()).then_is(Back);
        rig.delta();
        rig.when(&dialled().tcp(flags::ACK)).then_is(Back);
        assert_delta!(rig, forwarded(WEB_BACKEND, &dialled()));
    });
}

#[test]
fn an_uplink_that_is_also_the_way_out_is_no_hairpin() {
    own_port().port(uplink(NODE_MAC).in_bridge(BRIDGE)).at_ingress(|rig| {
        rig.when(&syn()).then(Back, &syn().ethernet(NODE_MAC, SERVER_MAC).from((VIP, CLIENT.1)).to(SERVER));
        assert_eq!(rig.delta().of(Reason::Hairpin), 0);
    });
}
