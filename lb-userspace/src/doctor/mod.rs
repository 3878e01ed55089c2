//! What is wrong with this node, why it matters, and the command that mends it.
//!
//! Input: files and tools of the system through [`System`], and the [`Ground`]: configuration, interfaces, what
//! a running agent tells, what is pinned. Output: [`Finding`]s. Works without an agent; nothing is changed.
//!
//! Architecture invariant: checks read the system through [`System`] alone, so that tests feed them recordings.

mod addresses;
mod agent;
mod firewall;
mod ground;
mod interfaces;
mod kernel;
mod model;
mod offloads;
mod pins;
mod probe;
mod process;
mod queues;
#[cfg(test)]
mod recorded;
mod ruleset;
mod stack;
mod system;

pub use ground::{Ground, Interface};
pub use model::{Check, Diagnosis, Finding, Severity};
pub use probe::other_holders;
pub use system::{Node, System};

/// Runs all checks. A check that finds nothing wrong says that in one finding.
pub fn examine(system: &dyn System, ground: &Ground) -> Diagnosis {
    let mut findings = Vec::new();
    for (check, run) in CHECKS {
        let found = run(system, ground);
        if found.is_empty() && is_known(check, ground) {
            findings.push(Finding::new(Severity::Ok, check, "node", check.all_is_well()));
        }
        findings.extend(found);
    }
    Diagnosis { agent: ground.agent.is_some(), findings }
}

/// Whether a check had what it looks at: silence is no health.
fn is_known(check: Check, ground: &Ground) -> bool {
    match check {
        Check::Agent | Check::Kernel | Check::Process => true,
        Check::Addresses | Check::Neighbours => ground.agent.is_some(),
        Check::Pins
        | Check::Interfaces
        | Check::Queues
        | Check::Offloads
        | Check::Stack
        | Check::Firewall => ground.config_problem.is_none(),
    }
}

type Run = fn(&dyn System, &Ground) -> Vec<Finding>;

const CHECKS: [(Check, Run); 11] = [
    (Check::Agent, agent::check),
    (Check::Kernel, kernel::check),
    (Check::Process, process::check),
    (Check::Pins, pins::check),
    (Check::Interfaces, interfaces::check),
    (Check::Queues, queues::check),
    (Check::Offloads, offloads::check),
    (Check::Stack, stack::check),
    (Check::Firewall, firewall::check),
    (Check::Addresses, addresses::vips),
    (Check::Neighbours, addresses::neighbours),
];

#[cfg(test)]
mod tests {
    use super::*;
    use recorded::Recorded;

    #[test]
    fn what_could_not_be_checked_is_not_called_well() {
        let ground = Ground { config_problem: Some("no such file".into()), ..Ground::default() };
        let diagnosis = examine(&Recorded::default(), &ground);
        let well = diagnosis.findings.iter().filter(|finding| finding.severity == Severity::Ok);
        assert_eq!(well.map(|finding| finding.check).collect::<Vec<_>>(), [Check::Process]);
        assert_eq!(diagnosis.worst(), Severity::Problem);
    }
}
