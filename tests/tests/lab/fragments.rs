//! Datagrams that are longer than the link's packets.

use anyhow::{Context as _, Result};
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::namespace::output;
use lb_tests::lab::server::iperf;
use lb_tests::lab::{SHOP, wait};
use serde_json::Value;

use crate::fixture::{Fixture, SOON, in_ipv6};

/// Once in each topology.
mod long_datagrams_arrive_complete {
    use crate::fixture::everywhere;

    everywhere!(@lab long_datagrams_arrive_complete bridge_tc, BRIDGE_TC, Bridge, Tc);
    everywhere!(@lab long_datagrams_arrive_complete router_xdp, ROUTER_XDP, Router, Xdp);
    everywhere!(@lab long_datagrams_arrive_complete stick_xdp, STICK_XDP, Stick, Xdp);
}

in_ipv6!(long_datagrams_arrive_complete: [bridge_tc, router_xdp, stick_xdp]);

/// Bytes of a datagram, which makes seven fragments on a link of 1500.
const LONG: &str = "9000";
/// As many as the receiver's buffer may be behind on a busy machine, several times over.
const DATAGRAMS: u64 = 40;

fn long_datagrams_arrive_complete(fixture: &mut Fixture) {
    // iperf3 talks to one server by TCP and UDP, so there is only one.
    let name = "long";
    let lb = ["create", name, "--namespace", SHOP, "--selector", "vm=vm1", "--wait"];
    let listeners = ["--listener", "control:5201/tcp", "--listener", "data:5201/udp"];
    let pool: &[&str] = if fixture.family() == Family::V6 { &["--pool", "lab6"] } else { &[] };
    let created = fixture.lab.installation.json(&[&lb[..], &listeners, pool].concat()).unwrap();
    let vip = created.pointer("/status/address").and_then(Value::as_str).unwrap();
    for direction in [&[][..], &["--reverse"]] {
        let mut seen = Vec::new();
        // A receiver that the machine keeps waiting loses what was delivered, and one that is not done refuses more.
        let complete = wait::until("all long datagrams arrive", SOON, || {
            seen.push(exchange(fixture, vip, direction));
            matches!(seen.last(), Some(Ok((DATAGRAMS, 0))))
        });
        complete.unwrap_or_else(|error| panic!("{error}: of each try, datagrams and lost ones: {seen:?}"));
    }
    fixture.delete_lb(name);
}

/// Sends datagrams one way, and gives how many there were and how many of them did not arrive.
fn exchange(fixture: &Fixture, vip: &str, direction: &[&str]) -> Result<(u64, u64)> {
    let (port, count) = (iperf::PORT.to_string(), DATAGRAMS.to_string());
    let arguments = ["--client", vip, "--port", &port, "--json", "--udp", "--length", LONG];
    let amount = ["--blockcount", &count, "--bitrate", "8M"];
    let text = output(fixture.lab.client().command("iperf3").args(arguments).args(amount).args(direction))?;
    let report: Value = serde_json::from_str(&text)?;
    let count = |name: &str| {
        let count = report.pointer(&format!("/end/sum/{name}")).and_then(Value::as_u64);
        count.with_context(|| format!("no {name} in {report}"))
    };
    Ok((count("packets")?, count("lost_packets")?))
}
