//! `lb doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::client::Client;
use super::output::Format;
use crate::config;
use crate::control::report::{BackendsReport, NodeReport};
use crate::doctor::{self, Diagnosis, Finding, Ground, Node, Severity};
use crate::inventory::links;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb doctor
  lb doctor --all
  lb doctor --probe
  lb doctor -o json | jq -r '.findings[] | select(.severity == \"problem\") | .remedy'

Nothing is changed, and only --probe sends anything. Works with and without a running agent.
Exit status: 0 no problem, 1 a problem was found, or the node can't be looked at.")]
pub(super) struct Arguments {
    /// The configuration file, for the interfaces and directories
    #[arg(long, default_value = "/etc/lb/lb.yaml", value_name = "FILE")]
    config: PathBuf,
    /// Ask the network by ARP whether another host has a VIP
    #[arg(long)]
    probe: bool,
    /// Show what is well, too
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<ExitCode> {
    let config = config::load(&arguments.config).map_err(|error| error.to_string());
    let topology = links::snapshot(&links::Addresses::new()).await.context("cannot look at the network")?;
    let reports = reports(client).await.map_err(|error| super::sentence(&error));
    let ground = Ground::gather((arguments.config.clone(), config), &topology, reports);
    let mut diagnosis = doctor::examine(&Node, &ground);
    if arguments.probe {
        diagnosis.findings.extend(doctor::other_holders(&ground));
    }
    super::print(&format.show(&diagnosis, || Ok(describe(&diagnosis, arguments.all)))?)?;
    Ok(if diagnosis.worst() == Severity::Problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn reports(client: &Client) -> anyhow::Result<(NodeReport, BackendsReport)> {
    let node =
        serde_json::from_value(client.get("/lb/v1/status").await?).context("cannot read the answer")?;
    let backends = client.get("/lb/v1/backends").await?;
    Ok((node, serde_json::from_value(backends).context("cannot read the answer")?))
}

fn describe(diagnosis: &Diagnosis, all: bool) -> String {
    let mut text = String::new();
    let mut findings: Vec<&Finding> = diagnosis.findings.iter().collect();
    // The worst first, in the order of the checks.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in findings.into_iter().filter(|finding| all || finding.severity != Severity::Ok) {
        let Finding { severity, check, subject, found, why, remedy } = finding;
        super::line(&mut text, format_args!("{:<8} {}: {subject}", severity.name(), check.name()));
        for (name, value) in [("found", found), ("why", why), ("remedy", remedy)] {
            if !value.is_empty() {
                super::line(&mut text, format_args!("         {:<8}{value}", format!("{name}:")));
            }
        }
    }
    let count = |severity, one: &str| {
        let count = diagnosis.count(severity);
        format!("{count} {one}{}", if count == 1 { "" } else { "s" })
    };
    super::line(
        &mut text,
        format_args!(
            "{}, {}, {}; checks without findings: {}",
            count(Severity::Problem, "problem"),
            count(Severity::Warning, "warning"),
            count(Severity::Note, "note"),
            diagnosis.count(Severity::Ok)
        ),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_shown_first_with_its_remedy() {
        let diagnosis: Diagnosis = serde_json::from_value(serde_json::json!({
            "agent": true,
            "findings": [
                {"severity": "ok", "check": "kernel", "subject": "node", "found": "as needed"},
                {"severity": "warning", "check": "stack", "subject": "net.ipv4.conf.up0.rp_filter",
                    "found": "strict", "why": "packets are dropped", "remedy": "sysctl -w net.ipv4.conf.up0.rp_filter=2"},
                {"severity": "problem", "check": "addresses", "subject": "192.0.2.200",
                    "found": "this VIP is configured on br0", "why": "the node answers for it as well",
                    "remedy": "ip address del 192.0.2.200/32 dev br0"},
            ]
        }))
        .unwrap();
        insta::assert_snapshot!(describe(&diagnosis, true));
        assert!(!describe(&diagnosis, false).contains("kernel"));
    }
}
