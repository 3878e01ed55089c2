//! Addresses that are kept: lent, extended, asked for again, given back.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use lb_tests::lab::SHOP;
use lb_tests::lab::server::dhcp::Make;
use lb_tests::lab::server::dhcp::overheard::{self, Message};

use super::scene::{INTERFACE, OFTEN, SERVER, SOON, Scene, host};

/// Extensions that are awaited.
const RENEWALS: u32 = 3;

pub(super) fn a_lease_lives(make: Make) {
    // By the interface's MAC alone, two load balancers would be one client.
    let hardware = if make.reads_identifiers() { "" } else { ", hardwareAddress: derived" };
    let mut scene = Scene::create(make, OFTEN, hardware);
    overheard::count(scene.lab.client(), INTERFACE).unwrap();
    scene.create_lb("front");
    scene.create_lb("back");
    let [front, back] = ["front", "back"].map(|name| scene.until_lent(name));
    assert_eq!(BTreeSet::from([front, back]), BTreeSet::from([host(200), host(201)]));
    for vip in [front, back] {
        scene.until_served(vip);
    }
    let status = scene.status("front");
    assert_eq!(status["allocatedAddress"]["ip"], "0.0.0.0");
    assert_eq!(status["lease"]["server"], SERVER.to_string());
    let described = scene.lab.installation.lb(&["describe", "front", "-n", SHOP]).unwrap();
    assert!(described.contains("by 192.0.2.50 on br0, until 2"), "{described}");

    for _ in 0..RENEWALS {
        scene.until_renewed("front");
    }
    assert_eq!(scene.until_lent("front"), front);
    restart(&mut scene, [front, back]);

    // Only what was given back can be lent to the next.
    assert_eq!(overheard::heard(scene.lab.client(), Message::Release).unwrap(), 0);
    scene.delete_lb("back");
    scene.create_lb("next");
    assert_eq!(scene.until_lent("next"), back);
    scene.until_served(back);
    assert_eq!(overheard::heard(scene.lab.client(), Message::Release).unwrap(), 1);
}

/// The same addresses after the agent was killed, and no client notices.
fn restart(scene: &mut Scene, [front, back]: [Ipv4Addr; 2]) {
    let expiry = scene.expiry("front");
    scene.kill_agent();
    assert!(scene.answers_within(front, SOON));
    scene.start_agent();
    assert!(scene.answers_within(front, SOON));
    scene.until("the lease goes on", || scene.expiry("front") > expiry);
    assert_eq!(["front", "back"].map(|name| scene.until_lent(name)), [front, back]);
    assert_eq!(scene.losses(""), 0);
    scene.until_served(front);
}

/// Its own server does not hear the node any more when it is spoken to alone.
pub(super) fn a_lease_is_extended_by_broadcasts(make: Make) {
    let scene = Scene::create(make, OFTEN, "");
    scene.create_lb("front");
    let front = scene.until_lent("front");
    overheard::deafen(scene.lab.node(), "br0", SERVER).unwrap();
    for _ in 0..2 {
        scene.until_renewed("front");
    }
    assert_ne!(overheard::unheard(scene.lab.node()).unwrap(), 0, "it was not asked alone before");
    assert_eq!(scene.until_lent("front"), front);
    assert_eq!(scene.losses(""), 0);
    scene.until_served(front);
}
