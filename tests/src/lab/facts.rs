//! The file of VM facts that the agent watches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context as _, Result};

/// What the agent is told about one VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs.
    pub running: bool,
    /// The MAC address of its interface.
    pub mac: String,
    /// The address of its interface.
    pub address: Ipv4Addr,
    /// The other address of its interface.
    pub address_v6: Ipv6Addr,
}

/// Replaces the file in one step, so that no reader sees half of it.
///
/// # Errors
/// When it can't be written.
pub fn write(path: &Path, facts: &[Fact]) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text(facts)).with_context(|| format!("write {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("replace {}", path.display()))
}

fn text(facts: &[Fact]) -> String {
    if facts.is_empty() {
        return "virtualMachines: []\n".to_owned();
    }
    let mut text = "virtualMachines:\n".to_owned();
    for fact in facts {
        let labels: Vec<String> = fact.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "  - namespace: {}\n    name: {}\n    labels: {{{}}}\n    running: {}\n    interfaces:\n      \
             - name: default\n        mac: \"{}\"\n        ipAddress: {}\n        ipAddresses: [\"{}\", \"{}\"]\n",
            fact.namespace,
            fact.name,
            labels.join(", "),
            fact.running,
            fact.mac,
            fact.address,
            fact.address,
            fact.address_v6
        );
    }
    text
}
