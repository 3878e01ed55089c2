//! The agent and what it tells.

use super::ground::Ground;
use super::model::{Check, Finding, Severity};
use super::system::System;
use crate::control::report::TableReport;

pub(super) fn check(_: &dyn System, ground: &Ground) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        ground.config_problem.iter().map(|problem| wrong(ground, problem)).collect();
    let finding =
        |severity, subject: &str, found: String| Finding::new(severity, Check::Agent, subject, found);
    let Some((node, _)) = &ground.agent else {
        let found = finding(Severity::Warning, "agent", format!("none answers: {}", ground.silence));
        findings.push(
            found
                .why(
                    "packets are balanced as they were when it ended; no change, no failed VM is noticed. \
                     VIPs and backends are not checked",
                )
                .remedy("systemctl start lb"),
        );
        return findings;
    };
    for failure in &node.failures {
        let found = format!("{} ({} times)", failure.error, failure.attempts);
        let found = finding(Severity::Problem, &failure.command, found);
        findings.push(found.why("what the packet programs do is not what was asked for; it is tried again"));
    }
    if let Some(error) = &node.inventory.error {
        let found = finding(Severity::Problem, &node.inventory.source, error.clone());
        findings.push(found.why("changes of VMs are not seen; the last good facts stay in use"));
    }
    if node.abi_version != lb_common::map::ABI_VERSION {
        let found =
            format!("it uses maps {}, this program {}", node.abi_version, lb_common::map::ABI_VERSION);
        findings.push(finding(Severity::Note, "agent", found).why("the agent is of another version"));
    }
    findings.extend(table("IPv4 flow table", &node.flows.ipv4));
    findings.extend(table("IPv6 flow table", &node.flows.ipv6));
    findings
}

/// A flow table that is nearly full turns new flows away.
fn table(name: &str, flows: &TableReport) -> Option<Finding> {
    let full = flows.entries > 0 && flows.used.saturating_mul(4) > flows.entries.saturating_mul(3);
    full.then(|| {
        let found = format!("{} of {} entries are used", flows.used, flows.entries);
        Finding::new(Severity::Warning, Check::Agent, name, found)
            .why("flows that find no entry are dropped as table_full; raise datapath.flowEntries")
    })
}

fn wrong(ground: &Ground, problem: &str) -> Finding {
    let file = ground.config_file.display().to_string();
    Finding::new(Severity::Problem, Check::Agent, file.clone(), problem)
        .why("without it, neither interfaces nor pins can be checked, nor can the agent start")
        .remedy(format!("lb agent --check --config {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::{BackendsReport, FailureReport, FlowReport, NodeReport};
    use crate::doctor::recorded::{Recorded, brief};

    #[test]
    fn a_node_without_agent_is_told_how_to_start_one() {
        let findings = check(&Recorded::default(), &Ground::default());
        assert_eq!(brief(&findings), [(Severity::Warning, "agent", "systemctl start lb")]);
    }

    #[test]
    fn failures_and_one_full_table_beside_an_empty_one_are_found() {
        let node = NodeReport {
            abi_version: lb_common::map::ABI_VERSION,
            failures: vec![FailureReport { command: "put backend".into(), ..FailureReport::default() }],
            flows: FlowReport {
                ipv4: TableReport { entries: 100, used: 76, ..TableReport::default() },
                ipv6: TableReport { entries: 100, ..TableReport::default() },
            },
            ..NodeReport::default()
        };
        let ground = Ground { agent: Some((node, BackendsReport::default())), ..Ground::default() };
        let findings = check(&Recorded::default(), &ground);
        assert_eq!(
            brief(&findings),
            [(Severity::Problem, "put backend", ""), (Severity::Warning, "IPv4 flow table", "")]
        );
    }
}
