//! `lb capture`.

mod pcapng;

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::client::Client;
use super::output::Format;
use crate::control::observe::{CaptureSummary, CapturedPacket};
use pcapng::Recording;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb capture --vip 203.0.113.80 --count 20
  lb capture --lb shop/front --client 198.51.100.8 --seconds 10 -w front.pcapng
  lb capture --port 53 -w - | tshark -r -

Each packet is shown as it came and as it was left, with verdict and reason; in a file these are two packets
with comments. The first 256 bytes of a frame are kept, and at most a thousand packets a second and CPU; those
that are too many are counted. Without a filter, packets that are none of the balancer's are left out.")]
pub(super) struct Arguments {
    /// To or from this VIP
    #[arg(long, value_name = "ADDRESS")]
    vip: Option<IpAddr>,
    /// Of this client
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// To or from this port
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// To or from the VIP of this load balancer
    #[arg(long, value_name = "[NAMESPACE/]NAME", conflicts_with = "vip")]
    lb: Option<String>,
    /// End after so many packets
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Write pcapng to a file, or to standard output (-)
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// A stream without a last line.
pub(super) const CUT_SHORT: &str = "the agent ended before all was told; see its log";

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<()> {
    let mut sink = Sink::new(arguments.write.as_deref(), format)?;
    let mut summary = None;
    let visit = |line: Value| -> anyhow::Result<()> {
        if line.get("started").is_some() {
            eprintln!("capturing; end it with Ctrl-C");
        } else if let Some(last) = line.get("summary") {
            summary = Some(serde_json::from_value(last.clone()).context("cannot read the answer")?);
        } else {
            sink.take(line)?;
        }
        Ok(())
    };
    client.lines(&path(arguments), visit).await?;
    let CaptureSummary { packets, lost } = summary.context(CUT_SHORT)?;
    eprintln!("{packets} packets captured, {lost} lost");
    Ok(())
}

fn path(arguments: &Arguments) -> String {
    let Arguments { vip, client, port, lb, count, seconds, .. } = arguments;
    let mut parameters = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        parameters.extend(value.map(|value| format!("{name}={value}")));
    };
    add("vip", vip.map(|vip| vip.to_string()));
    add("client", client.map(|client| client.to_string()));
    add("port", port.map(|port| port.to_string()));
    add("lb", lb.as_deref().map(super::flows::escaped));
    add("count", count.map(|count| count.to_string()));
    add("seconds", seconds.map(|seconds| seconds.to_string()));
    format!("/lb/v1/capture?{}", parameters.join("&"))
}

/// Where packets go.
enum Sink {
    Lines,
    Json,
    Recording(Box<Recording<Box<dyn Write>>>),
}

impl Sink {
    fn new(file: Option<&Path>, format: Format) -> anyhow::Result<Self> {
        let Some(path) = file else {
            return Ok(if format == Format::Table { Self::Lines } else { Self::Json });
        };
        let writer: Box<dyn Write> = if path == Path::new("-") {
            Box::new(std::io::stdout())
        } else {
            Box::new(File::create(path).with_context(|| format!("cannot create {}", path.display()))?)
        };
        Ok(Self::Recording(Box::new(Recording::begin(writer)?)))
    }

    fn take(&mut self, line: Value) -> anyhow::Result<()> {
        if let Self::Json = self {
            return super::print(&format!("{line}\n"));
        }
        let packet: CapturedPacket = serde_json::from_value(line).context("cannot read the answer")?;
        match self {
            Self::Recording(recording) => recording.add(&packet),
            Self::Lines | Self::Json => super::print(&describe(&packet)),
        }
    }
}

fn describe(packet: &CapturedPacket) -> String {
    let CapturedPacket { interface, hook, verdict, came, left, .. } = packet;
    let time = i128::from(packet.time);
    let time = Timestamp::from_nanosecond(time).map(|time| time.to_string()).unwrap_or_default();
    let reason = if packet.reason.is_empty() { String::new() } else { format!(", {}", packet.reason) };
    let mut text = format!("{time} {interface} {hook}: {verdict}{reason}\n  {came}\n");
    if came != left {
        super::line(&mut text, format_args!("  → {left}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_shown_before_and_after() {
        let packet = CapturedPacket {
            time: 1_700_000_000_123_456_789,
            interface: "up0".into(),
            hook: "xdp".into(),
            verdict: "pass".into(),
            came: "TCP 192.0.2.50:40000 → 192.0.2.200:80 [SYN]".into(),
            left: "TCP 192.0.2.50:40000 → 192.0.2.11:8080 [SYN]".into(),
            ..CapturedPacket::default()
        };
        insta::assert_snapshot!(describe(&packet));
    }
}
