//! `lb trace`.

use anyhow::Context;
use clap::Args;

use super::client::Client;
use super::output::Format;
use crate::control::observe::{RawTrace, TraceReport};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb trace tcp 198.51.100.8:40000 203.0.113.80:80
  lb trace udp 198.51.100.8:40000 203.0.113.80:53 --interface vnet3 --size 100
  lb trace tcp 198.51.100.8:40000 203.0.113.80:80 --flags ACK
  lb trace tcp 192.0.2.11:8080 198.51.100.8:40000 --egress --flags 'SYN|ACK'

The packet programs themselves decide, over a copy of the flows that there are: nothing is sent, no flow is
opened, no counter moves. A new flow's source port, where it is masqueraded, is drawn anew each time.")]
pub(super) struct Arguments {
    /// tcp or udp
    #[arg(value_name = "PROTOCOL")]
    protocol: String,
    /// Where the packet comes from: address and port
    #[arg(value_name = "SOURCE:PORT")]
    source: String,
    /// Where it goes to
    #[arg(value_name = "DESTINATION:PORT")]
    destination: String,
    /// The interface that it comes in by, or goes out of [default: the first uplink]
    #[arg(long, value_name = "INTERFACE", default_value = "", hide_default_value = true)]
    interface: String,
    /// Flags of TCP, joined by |
    #[arg(long, value_name = "FLAGS", default_value = "SYN")]
    flags: String,
    /// Bytes of payload
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    size: usize,
    /// It goes out of the interface, as answers do
    #[arg(long)]
    egress: bool,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    let question = RawTrace {
        protocol: arguments.protocol.clone(),
        source: arguments.source.clone(),
        destination: arguments.destination.clone(),
        interface: arguments.interface.clone(),
        flags: arguments.flags.clone(),
        size: arguments.size,
        egress: arguments.egress,
    };
    let question = serde_json::to_value(question).context("cannot write the question")?;
    let answer = client.post("/lb/v1/trace", &question).await?;
    let report: TraceReport = serde_json::from_value(answer).context("cannot read the answer")?;
    format.show(&report, || Ok(describe(&report)))
}

fn describe(report: &TraceReport) -> String {
    let mut text = String::new();
    super::line(&mut text, format_args!("{}", report.before));
    for step in &report.steps {
        super::line(&mut text, format_args!("  {:<11}{}", format!("{}:", step.what), step.text));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_decision_has_a_line() {
        let report: TraceReport = serde_json::from_value(serde_json::json!({
            "interface": "up0", "hook": "xdp",
            "steps": [
                {"what": "interface", "text": "up0 (uplink), xdp"},
                {"what": "vip", "text": "192.0.2.200 is the VIP of shop/front"},
                {"what": "verdict", "text": "pass"},
            ],
            "before": "TCP 192.0.2.50:40000 → 192.0.2.200:80 [SYN]", "verdict": "pass"
        }))
        .unwrap();
        insta::assert_snapshot!(describe(&report));
    }
}
