//! Privileges, memory and clock.

use super::ground::Ground;
use super::model::{Check, Finding, Severity};
use super::system::System;

/// What the agent needs, by number of the capability.
const CAPABILITIES: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// Bytes of one entry of the flow table, and as much again for everything else.
const BYTES_AN_ENTRY: u64 = 64;
/// Kibibytes that the machine should have left.
const SPARE: u64 = 64 * 1024;

pub(super) fn check(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let status = system.read("/proc/self/status").unwrap_or_default();
    let memory = system.read("/proc/meminfo").unwrap_or_default();
    let found = [capabilities(&status), available(&memory, ground), clock(system, ground)];
    found.into_iter().flatten().collect()
}

/// The value of `NAME: VALUE …`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()
}

fn capabilities(status: &str) -> Option<Finding> {
    let set = u64::from_str_radix(field(status, "CapEff")?, 16).ok()?;
    let lacking: Vec<&str> =
        CAPABILITIES.iter().filter(|(number, _)| set >> number & 1 == 0).map(|(_, name)| *name).collect();
    (!lacking.is_empty()).then(|| {
        let found = format!("this process lacks {}", lacking.join(", "));
        Finding::new(Severity::Warning, Check::Process, "capabilities", found)
            .why("pins, programs and firewalls can't be looked at; an agent started so can't work")
            .remedy("sudo lb doctor")
    })
}

fn available(memory: &str, ground: &Ground) -> Option<Finding> {
    let available: u64 = field(memory, "MemAvailable")?.parse().ok()?;
    let pinned = ground.survey.versions.contains_key(&lb_common::map::ABI_VERSION);
    let needed = if pinned { 0 } else { u64::from(ground.flow_entries) * BYTES_AN_ENTRY / 1024 } + SPARE;
    (available < needed).then(|| {
        let found = format!("{} MiB are available, {} MiB are needed", available / 1024, needed / 1024);
        Finding::new(Severity::Warning, Check::Process, "memory", found)
            .why("the maps are allocated when the agent starts; lower datapath.flowEntries or free memory")
    })
}

fn clock(system: &dyn System, ground: &Ground) -> Option<Finding> {
    let store = ground.state_directory.join("lb.redb");
    let ahead = system.ahead(&store.to_string_lossy())?;
    // A write may just be under way, on a file system with a clock of its own.
    (ahead.as_secs() >= 2).then(|| {
        let found = format!("last changed {} s in the future", ahead.as_secs());
        Finding::new(Severity::Warning, Check::Process, store.display().to_string(), found)
            .why("the clock was set back: ages and times of conditions are wrong until it has caught up")
            .remedy(format!("touch {}", store.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::recorded::{Recorded, brief};

    #[test]
    fn missing_privileges_are_named() {
        let finding = capabilities("Name:\tlb\nCapEff:\t0000000000001000\n").unwrap();
        assert_eq!(finding.found, "this process lacks CAP_NET_RAW, CAP_PERFMON, CAP_BPF");
        assert_eq!(capabilities("CapEff:\t000001ffffffffff\n"), None);
    }

    #[test]
    fn little_memory_and_a_clock_that_was_set_back_are_found() {
        let system = Recorded::default()
            .with("/proc/meminfo", "MemTotal: 1 kB\nMemAvailable:  70000 kB\n")
            .ahead(Duration::from_hours(1));
        let ground =
            Ground { flow_entries: 1 << 20, state_directory: "/var/lib/lb".into(), ..Ground::default() };
        let findings = check(&system, &ground);
        assert_eq!(
            brief(&findings),
            [
                (Severity::Warning, "memory", ""),
                (Severity::Warning, "/var/lib/lb/lb.redb", "touch /var/lib/lb/lb.redb")
            ]
        );
    }
}
