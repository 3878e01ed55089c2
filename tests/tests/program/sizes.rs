//! Sizes at which buffers, chunks and headers end.

use lb_tests::packet::flags;
use lb_tests::program::Verdict::{Back, Pass};
use lb_tests::program::{Hook, Rig};

use crate::scene::*;

/// Nothing, around one byte, a minimal frame, one chunk of 128 bytes and an MTU.
const SIZES: [usize; 17] = [0, 1, 2, 3, 5, 6, 7, 62, 63, 74, 75, 127, 128, 129, 1446, 1447, 1448];
/// Around a page and a jumbo frame. The kernel runs tc with a page at most.
const LARGE: [usize; 5] = [3446, 4090, 4091, 8947, 8948];

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 13 + size) as u8).collect()
}

#[test]
fn a_vm_host_forwards_and_answers_every_size() {
    bridge().at_ingress(|rig| {
        for payload in SIZES.map(payload) {
            let sent = to_web(flags::ACK).payload(&payload);
            rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(SERVER));
            let back = from_web(flags::ACK).payload(&payload);
            rig.at_egress(&back).then(Pass, &back.clone().from(WEB));
            let sent = query().payload(&payload);
            rig.when(&sent).then(Pass, &sent.clone().ethernet(CLIENT_MAC, SERVER_MAC).to(RESOLVER));
            let back = answer().payload(&payload);
            rig.at_egress(&back).then(Pass, &back.clone().from(DNS));
        }
    });
}

/// Sends a datagram of this size there and back again.
fn there_and_back(rig: &mut Rig, size: usize) {
    let sent = query().payload(&payload(size));
    let there = sent.clone().ethernet(NODE_MAC, SERVER_MAC).from((VIP, CLIENT.1)).to(RESOLVER);
    rig.when(&sent).then(Back, &there);
    let back = answer().payload(&payload(size)).ethernet(SERVER_MAC, NODE_MAC).to((VIP, CLIENT.1));
    let expected = back.clone().ethernet(NODE_MAC, CLIENT_MAC).from(DNS).to(CLIENT);
    rig.when(&back).then(Back, &expected);
}

#[test]
fn a_stick_forwards_and_answers_every_size() {
    stick().at_ingress(|rig| SIZES.into_iter().for_each(|size| there_and_back(rig, size)));
}

#[test]
fn a_stick_forwards_and_answers_jumbo_frames() {
    stick().at(Hook::Xdp, |rig| LARGE.into_iter().for_each(|size| there_and_back(rig, size)));
}
