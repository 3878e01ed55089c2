//! Addresses that are lost, and what comes after.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lb_tests::lab::SHOP;
use lb_tests::lab::server::dhcp::overheard::{self, Message};
use lb_tests::lab::server::dhcp::{Make, Scope, Terms};
use lb_tests::lab::wait;

use super::scene::{INTERFACE, OFTEN, SHORT, SOON, Scene, host};

/// A VM has the address that the server lends first, whoever asks.
pub(super) fn an_address_in_use_is_declined(make: Make) {
    let mut scene = Scene::create(make, OFTEN, "");
    scene.create_lb("first");
    let used = scene.until_lent("first");
    scene.delete_lb("first");
    scene.silence();
    let server = scene.lab.client().clone();
    scene.serve_at(&server, "forgetful");
    overheard::count(&server, INTERFACE).unwrap();
    let address = format!("{used}/32");
    scene.lab.vms[0].namespace.ip(&["address", "add", &address, "dev", "eth0"]).unwrap();

    scene.create_lb("front");
    let front = scene.until_lent("front");
    assert_eq!(front, if used == host(200) { host(201) } else { host(200) });
    scene.until_served(front);
    assert_ne!(overheard::heard(&server, Message::Decline).unwrap(), 0);
}

/// The server is away for so many of its leases.
pub(super) fn an_address_outlives_its_server_by_a_lease(make: Make, terms: Terms, leases: u32) {
    /// In less time nothing can be asked on a busy machine.
    const ENOUGH: SignedDuration = SignedDuration::from_secs(1);
    let mut scene = Scene::create(make, terms, "");
    scene.create_lb("front");
    let front = scene.until_lent("front");
    scene.until_served(front);
    // It is told in whole seconds: the lease ends then, or less than a second later.
    let end = scene.until_some("a lease is new", || {
        let end: Timestamp = scene.expiry("front").parse().ok()?;
        (end.duration_since(Timestamp::now()) > ENOUGH).then_some(end)
    });
    scene.silence();
    let silent = Timestamp::now();
    let mut answers = 0;
    while Timestamp::now() < end {
        answers += u32::from(scene.answers(front));
        let losses = scene.losses("");
        assert!(losses == 0 || Timestamp::now() >= end, "it is used until its lease ends");
    }
    assert_ne!(answers, 0, "it answers until its lease ends");
    scene.until("the address is lost", || scene.address("front").is_none());
    scene.until("nobody answers there", || !scene.answers(front));
    assert_eq!(scene.losses("has expired"), 1);
    let waiting = "service is waiting for external IP";
    let status = scene.status("front");
    assert!(status["conditions"].to_string().contains(waiting), "{status}");
    let lent = format!("address {front}, lent by 192.0.2.50 on br0");
    until_told(&scene, "Normal", "AddressAssigned", &lent);
    until_told(&scene, "Warning", "AddressNotAssigned", waiting);

    let away = SignedDuration::from_secs((terms.end * leases).into());
    let limit = SOON + Duration::from_secs(away.as_secs().unsigned_abs());
    wait::until("the server was away for long", limit, || Timestamp::now().duration_since(silent) > away)
        .unwrap();
    scene.serve();
    assert_eq!(scene.until_lent("front"), front);
    scene.until_served(front);
}

/// Waits until an event says so.
fn until_told(scene: &Scene, kind: &str, reason: &str, message: &str) {
    let is_told = |line: &str| [kind, reason, message].iter().all(|word| line.contains(word));
    scene.until(&format!("{reason} is told"), || {
        let described = scene.lab.installation.lb(&["describe", "front", "-n", SHOP]).unwrap();
        described.lines().any(is_told)
    });
}

/// Its server is in another network than before.
pub(super) fn a_refused_address_is_left(make: Make) {
    const REFUSED: &str = "the DHCP server refused the address";
    let mut scene = Scene::create(make, OFTEN, "");
    scene.create_lb("front");
    let first = scene.until_lent("front");
    scene.until_served(first);
    // After a restart it is asked for again.
    scene.kill_agent();
    renumber(&mut scene, [198, 51, 100]);
    scene.start_agent();
    let second = until_elsewhere(&scene, first);
    assert_eq!(scene.losses(REFUSED), 1);
    assert_eq!(scene.losses(""), 1);

    // In use, more time is asked for.
    renumber(&mut scene, [203, 0, 113]);
    until_elsewhere(&scene, second);
    let reason = if make.refuses_extensions() { REFUSED } else { "has expired" };
    assert_eq!(scene.losses(reason), 1 + usize::from(make.refuses_extensions()));
    assert_eq!(scene.losses(""), 2);
}

/// The server is in this network from now on, and has forgotten what it lent in others.
fn renumber(scene: &mut Scene, [a, b, c]: [u8; 3]) {
    scene.silence();
    let server = scene.lab.client().clone();
    let host = |number| Ipv4Addr::new(a, b, c, number);
    server.ip(&["address", "flush", "dev", INTERFACE]).unwrap();
    server.ip(&["address", "add", &format!("{}/24", host(50)), "dev", INTERFACE]).unwrap();
    scene.lab.vms[0].namespace.ip(&["route", "add", &format!("{}/24", host(0)), "dev", "eth0"]).unwrap();
    scene.scope = Scope { first: host(200), last: host(201), terms: SHORT, ..scene.scope };
    scene.serve_at(&server, &format!("renumbered-{a}"));
}

/// Waits until it has an address of the scope, and none from before.
fn until_elsewhere(scene: &Scene, before: Ipv4Addr) -> Ipv4Addr {
    let now =
        scene.until_some("it has another address", || scene.address("front").filter(|now| *now != before));
    assert!([scene.scope.first, scene.scope.last].contains(&now), "{now}");
    scene.until_served(now);
    assert!(!scene.answers(before));
    now
}

/// Its server is gone; another one, in a VM of this node, knows nothing of it.
pub(super) fn another_server_is_followed(make: Make) {
    let terms = if make.extends_others() { OFTEN } else { SHORT };
    let mut scene = Scene::create(make, terms, "");
    scene.create_lb("front");
    let front = scene.until_lent("front");
    scene.until_served(front);
    scene.silence();
    let other = scene.lab.add_vm().unwrap();
    let (other, address) = (other.namespace.clone(), other.address.to_string());
    scene.serve_at(&other, "other");
    scene.until("the other server lends", || scene.status("front")["lease"]["server"] == address.as_str());
    assert_eq!(scene.losses(""), usize::from(!make.extends_others()));
    scene.until_served(scene.until_lent("front"));
    assert!(!make.extends_others() || scene.address("front") == Some(front));
}

/// The interface is down for a while.
pub(super) fn silence_is_told(make: Make) {
    let scene = Scene::create(make, SHORT, "");
    scene.create_lb("front");
    let front = scene.until_lent("front");
    let set = |state| scene.lab.node().ip(&["link", "set", "br0", state]).unwrap();
    set("down");
    scene.until("the cause is told", || scene.message("front").contains("nothing can be sent on br0"));
    set("up");
    scene.until("it has its address, and nothing to tell", || {
        scene.message("front").is_empty() && scene.address("front") == Some(front)
    });
    scene.until_served(front);
}
