//! `lb events`.

use std::net::IpAddr;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::client::Client;
use super::output::Format;
use crate::control::observe::{CarriedTold, EventRow, EventsSummary};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb events --lb shop/front
  lb events --kind closed --client 198.51.100.8
  lb events --kind dropped --count 10 -o json

What a flow carried is counted only with datapath.flowAccounting in the agent's configuration. Of drops, some
sixty a second and CPU are told; what was not told is counted. One at a time may listen.")]
pub(super) struct Arguments {
    /// To or from the VIP of this load balancer
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    lb: Option<String>,
    /// Of this client
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// opened, closed or dropped
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<()> {
    let mut summary = None;
    let visit = |line: Value| -> anyhow::Result<()> {
        if line.get("started").is_some() {
            eprintln!("listening; end it with Ctrl-C");
        } else if let Some(last) = line.get("summary") {
            summary = Some(serde_json::from_value(last.clone()).context("cannot read the answer")?);
        } else if format == Format::Table {
            let event: EventRow = serde_json::from_value(line).context("cannot read the answer")?;
            super::print(&describe(&event))?;
        } else {
            super::print(&format!("{line}\n"))?;
        }
        Ok(())
    };
    client.lines(&path(arguments), visit).await?;
    let EventsSummary { events, lost_flows, lost_drops } = summary.context(super::capture::CUT_SHORT)?;
    eprintln!("{events} events; not told: {lost_flows} of flows, {lost_drops} drops");
    Ok(())
}

fn path(arguments: &Arguments) -> String {
    let Arguments { lb, client, kind, count, seconds } = arguments;
    let mut parameters = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        parameters.extend(value.map(|value| format!("{name}={value}")));
    };
    add("lb", lb.as_deref().map(super::flows::escaped));
    add("client", client.map(|client| client.to_string()));
    add("kind", kind.as_deref().map(super::flows::escaped));
    add("count", count.map(|count| count.to_string()));
    add("seconds", seconds.map(|seconds| seconds.to_string()));
    format!("/lb/v1/events?{}", parameters.join("&"))
}

/// One line, and the packet of a drop on another.
fn describe(event: &EventRow) -> String {
    let time = i128::from(event.time);
    let mut text = Timestamp::from_nanosecond(time).map(|time| time.to_string()).unwrap_or_default();
    let mut add = |arguments: std::fmt::Arguments<'_>| {
        use std::fmt::Write;
        // Writing to a string can't fail.
        let _ = text.write_fmt(arguments);
    };
    add(format_args!(" {}", event.kind));
    if let Some(flow) = &event.flow {
        add(format_args!(" {} {} → {} → {}", flow.protocol, flow.client, flow.vip, flow.server));
        for name in [&flow.load_balancer, &flow.vm].into_iter().filter(|name| !name.is_empty()) {
            add(format_args!(" {name}"));
        }
    }
    if let Some(carried) = &event.carried {
        let CarriedTold { duration_seconds, forward_packets, forward_bytes, reply_packets, reply_bytes } =
            carried;
        add(format_args!(
            ", {duration_seconds:.6} s, {forward_packets} packets of {forward_bytes} bytes to the server, \
             {reply_packets} of {reply_bytes} to the client"
        ));
    }
    if let Some(drop) = &event.drop {
        add(format_args!(
            " {}, {} {}, {} bytes\n  {}",
            drop.reason, drop.interface, drop.hook, drop.length, drop.packet
        ));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::observe::{DropTold, FlowTold};

    #[test]
    fn each_kind_of_event_has_its_line() {
        let flow = FlowTold {
            protocol: "TCP".into(),
            client: "192.0.2.50:40000".into(),
            vip: "192.0.2.200:80".into(),
            server: "192.0.2.11:8080".into(),
            vm: "vm1".into(),
            load_balancer: "shop/front".into(),
            ..FlowTold::default()
        };
        let time = 1_700_000_000_123_456_789;
        let opened = EventRow { time, kind: "opened".into(), flow: Some(flow), ..EventRow::default() };
        let carried = CarriedTold {
            duration_seconds: 0.25,
            forward_packets: 6,
            forward_bytes: 480,
            reply_packets: 5,
            reply_bytes: 1200,
        };
        let closed = EventRow { kind: "closed".into(), carried: Some(carried), ..opened.clone() };
        let drop = DropTold {
            reason: "source_denied".into(),
            interface: "up0".into(),
            hook: "xdp".into(),
            packet: "UDP 198.51.100.9:7 → 192.0.2.200:53, TTL 64".into(),
            length: 60,
        };
        let dropped = EventRow { time, kind: "dropped".into(), drop: Some(drop), ..EventRow::default() };
        insta::assert_snapshot!([opened, closed, dropped].iter().map(describe).collect::<String>());
    }
}
