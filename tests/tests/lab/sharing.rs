//! One address that several load balancers have.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use lb_tests::lab::client::http;
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{SHOP, wait};

use crate::fixture::{BRIDGE_TC, Fixture, SOON};

const PATIENCE: Duration = Duration::from_millis(500);

/// Whether all of some requests to a port of the VIP are answered.
fn answers(fixture: &Fixture, port: u16) -> bool {
    let server = SocketAddr::from((fixture.address(), port));
    http::ask_patiently(fixture.lab.client(), server, 6, PATIENCE).unwrap().failures.is_empty()
}

#[test]
fn d26_two_load_balancers_serve_their_ports_of_one_address() {
    let fixture = BRIDGE_TC.take(Topology::Bridge, Hook::Tc, Family::V4);
    let front = fixture.lab.installation.json(&["get", fixture.front(), "--namespace", SHOP]).unwrap();
    let manifest = serde_json::json!({
        "apiVersion": front["apiVersion"], "kind": "LoadBalancer",
        "metadata": {"namespace": SHOP, "name": "beside"},
        "spec": {
            "shareAddressWith": fixture.front(),
            "listeners": [{"name": "web", "port": 8081, "protocol": "TCP", "backendPort": 8080}],
            "backendServerSelector": front["spec"]["backendServerSelector"],
        },
    });
    let path = fixture.lab.directory("sharing").unwrap().join("beside.json");
    let path = path.to_string_lossy();
    fs::write(&*path, manifest.to_string()).unwrap();
    fixture.lab.installation.lb(&["apply", "-f", &path]).unwrap();
    wait::until("the port of the second is served", SOON, || answers(&fixture, 8081)).unwrap();
    assert!(answers(&fixture, 80), "the first serves on");

    fs::write(&*path, manifest.to_string().replace("8081", "80")).unwrap();
    let refused = fixture.lab.installation.run(&["apply", "-f", &path]).unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("TCP 80 is taken by front,"), "{text}");
    let refused = fixture.lab.installation.run(&["delete", "front", "--namespace", SHOP]).unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("shared with beside"), "{text}");

    fixture.delete_lb("beside");
    wait::until("the port of the second is closed", SOON, || {
        let server = SocketAddr::from((fixture.address(), 8081));
        http::ask_patiently(fixture.lab.client(), server, 1, PATIENCE).unwrap().answers.is_empty()
    })
    .unwrap();
    assert!(answers(&fixture, 80), "the address is still the first one's");
}
