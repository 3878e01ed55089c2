//! Findings.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing to do.
    Ok,
    /// Worth knowing.
    Note,
    /// Works, and worse than it could.
    Warning,
    /// Packets are lost, or will be.
    Problem,
}

impl Severity {
    /// The word that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The agent and what it tells.
    Agent,
    /// The kernel and its file systems.
    Kernel,
    /// Privileges, memory, clock.
    Process,
    /// What is pinned and attached.
    Pins,
    /// Interfaces, drivers and hooks.
    Interfaces,
    /// Queues of interfaces.
    Queues,
    /// Offloads of interfaces.
    Offloads,
    /// Settings of the IP stack.
    Stack,
    /// Rules that drop packets.
    Firewall,
    /// Who has the VIPs.
    Addresses,
    /// The ways to backends.
    Neighbours,
}

impl Check {
    /// The word that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Kernel => "kernel",
            Self::Process => "process",
            Self::Pins => "pins",
            Self::Interfaces => "interfaces",
            Self::Queues => "queues",
            Self::Offloads => "offloads",
            Self::Stack => "stack",
            Self::Firewall => "firewall",
            Self::Addresses => "addresses",
            Self::Neighbours => "neighbours",
        }
    }

    /// What to say when nothing is wrong.
    pub(super) const fn all_is_well(self) -> &'static str {
        match self {
            Self::Agent => "the agent runs and has no failures",
            Self::Kernel => "version, configuration and file systems are as needed",
            Self::Process => "privileges, memory and clock are as needed",
            Self::Pins => "maps are pinned, links attached, no programs of others beside them",
            Self::Interfaces => "all are up and served by the best hook that they have",
            Self::Queues => "enough for XDP",
            Self::Offloads => "none is in the way",
            Self::Stack => "forwarding and filters of the IP stack are as needed",
            Self::Firewall => "no rule drops balanced traffic",
            Self::Addresses => "no VIP is configured on this node",
            Self::Neighbours => "no backend is without a way",
        }
    }
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at.
    pub check: Check,
    /// Where: an interface, a setting, a rule.
    pub subject: String,
    /// What is the case.
    pub found: String,
    /// Why it matters; empty if nothing is wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The command, for a shell on this node, that mends it; empty where no command can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// A finding without reason and remedy.
    pub(super) fn new(
        severity: Severity,
        check: Check,
        subject: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (subject, found) = (subject.into(), found.into());
        Self { severity, check, subject, found, why: String::new(), remedy: String::new() }
    }

    /// Why it matters.
    pub(super) fn why(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    /// What mends it.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// All findings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Whether an agent answered.
    pub agent: bool,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// The greatest severity.
    pub fn worst(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
    }

    /// How many findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}
