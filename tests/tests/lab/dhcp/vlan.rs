//! Networks behind tagged links.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use lb_tests::lab::server::dhcp::{Make, Scope};
use lb_tests::lab::trunk::TaggedHost;

use super::scene::{OFTEN, PATIENCE, Scene};

pub(super) fn an_address_of_a_vlan(make: Make) {
    let mut scene = Scene::create(make, OFTEN, ", networks: {lab/vlan7: {interface: up0, vlan: 7}}");
    scene.silence();
    let host = TaggedHost::create(&scene.lab, 7, &["198.51.100.50/24"]).unwrap();
    let lan = &host.namespace;
    let [first, last] = [200, 201].map(|number| Ipv4Addr::new(198, 51, 100, number));
    scene.scope = Scope { first, last, ..scene.scope };
    scene.serve_at(lan, "lan");
    scene.create_lb_in("front", &["--network", "lab/vlan7"]);
    let front = scene.until_lent("front");
    assert!([first, last].contains(&front), "{front}");
    assert_eq!(scene.status("front")["lease"]["vlan"], 7);
    // Nobody listens on this port, and the VIP says so, in the VLAN.
    let closed = SocketAddr::from((front, 81));
    let dial = || lan.enter(|| TcpStream::connect_timeout(&closed, PATIENCE)).unwrap();
    scene.until("the VIP answers in its VLAN", || {
        dial().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    scene.until_renewed("front");
    scene.delete_lb("front");
    scene.create_lb_in("front", &["--network", "lab/other"]);
    scene.until("the network is not known", || scene.message("front").contains("dhcp.networks"));
}
