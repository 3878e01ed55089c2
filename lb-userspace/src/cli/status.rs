//! `lb status`.

use anyhow::Context;

use super::client::Client;
use super::output::{self, Format};
use crate::control::report::{NodeReport, ProcessReport, TableReport};

pub(super) async fn run(client: &Client, format: Format) -> anyhow::Result<String> {
    let answer = client.get("/lb/v1/status").await?;
    let report: NodeReport = serde_json::from_value(answer).context("cannot read the answer")?;
    format.show(&report, || Ok(describe(&report)))
}

fn describe(report: &NodeReport) -> String {
    let mut text = String::new();
    for (name, value) in fields(report) {
        super::line(&mut text, format_args!("{:<12}{value}", format!("{name}:")));
    }
    text += "\nInterfaces:\n";
    let interfaces = report.interfaces.iter();
    let rows = interfaces.map(|i| [i.name.clone(), i.role.clone(), i.hook.clone(), i.reason.clone()]);
    text += &output::table(["NAME", "ROLE", "HOOK", "REASON"], rows);
    let seen: Vec<_> = report.reasons.iter().filter(|(_, packets)| **packets > 0).collect();
    if !seen.is_empty() {
        text += "\nPackets:\n";
        text +=
            &output::table(["REASON", "PACKETS"], seen.into_iter().map(|(r, p)| [r.clone(), p.to_string()]));
    }
    if !report.failures.is_empty() {
        text += "\nFailed commands (they are tried again):\n";
        let rows = report.failures.iter();
        let rows = rows.map(|f| [f.command.clone(), f.attempts.to_string(), f.error.clone()]);
        text += &output::table(["COMMAND", "ATTEMPTS", "ERROR"], rows);
    }
    text
}

fn processes(report: &ProcessReport) -> String {
    match report.cgroup.as_str() {
        "" => format!("of this node are not served: {}", report.reason),
        cgroup => format!("of this node are served in {cgroup}"),
    }
}

fn fields(report: &NodeReport) -> Vec<(&'static str, String)> {
    let inventory = &report.inventory;
    let vms = match (inventory.provider.as_str(), &inventory.error) {
        ("none", _) => "none configured; set inventory.file".to_owned(),
        (provider, None) => {
            format!("{provider} {}, {} virtual machines", inventory.source, inventory.virtual_machines)
        }
        (provider, Some(error)) => format!(
            "{provider} {}, {} virtual machines as last read, now failing: {error}",
            inventory.source, inventory.virtual_machines
        ),
    };
    vec![
        ("Node", report.node.clone()),
        ("Version", format!("{} (maps {})", report.version, report.abi_version)),
        ("Uptime", format!("{} s", report.uptime_seconds)),
        ("Store", report.store.clone()),
        ("Inventory", vms),
        ("Processes", processes(&report.node_processes)),
        ("Flows IPv4", flow_table(&report.flows.ipv4)),
        ("Flows IPv6", flow_table(&report.flows.ipv6)),
    ]
}

fn flow_table(flows: &TableReport) -> String {
    let table = format!("{} live, {} of {} entries used", flows.live, flows.used, flows.entries);
    if flows.overflowed == 0 {
        return table;
    }
    format!(
        "{table}, {} of {} in the overflow map; raise datapath.flowEntries",
        flows.overflowed, flows.overflow_entries
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_node_is_shown_with_what_fails() {
        let report: NodeReport = serde_json::from_value(serde_json::json!({
            "node": "node-1", "version": "0.1.0", "abiVersion": 1, "uptimeSeconds": 61, "store": "/var/lib/lb/lb.redb",
            "inventory": {"provider": "file", "source": "/etc/lb/vms.yaml", "virtualMachines": 3,
                "error": "line 4: unknown field `nmae`"},
            "interfaces": [{"name": "eth0", "role": "uplink", "hook": "tcx", "reason": "veth: XDP costs its peer TSO"}],
            "nodeProcesses": {"cgroup": "/sys/fs/cgroup"},
            "flows": {
                "ipv4": {"entries": 262_144, "used": 12, "live": 6, "overflowed": 2, "overflowEntries": 16_384},
                "ipv6": {"entries": 262_144, "used": 4, "live": 2}
            },
            "reasons": {"not_ours": 5, "truncated": 0},
            "failures": [{"command": "put backend 3", "error": "map is full", "attempts": 2}]
        }))
        .unwrap();
        insta::assert_snapshot!(describe(&report));
    }
}
