//! Listeners: names, ports and protocols (rules V1 to V6 with decisions D5 to D7).

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;

use lb_common::net::Protocol;

use crate::model::field::Problems;
use crate::model::load_balancer::Listener;
use crate::model::names;

/// A TCP or UDP port, 1 to 65535.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Port(NonZeroU16);

impl Port {
    /// Of a number; 0 and what exceeds 65535 is not a port.
    pub fn new(number: i64) -> Option<Self> {
        u16::try_from(number).ok().and_then(NonZeroU16::new).map(Self)
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A listener, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedListener {
    /// Unique in its load balancer.
    pub name: String,
    /// Dialled by clients; unique together with `protocol`.
    pub port: Port,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The VM's port.
    pub backend_port: Port,
}

/// The name as manifests write it.
pub(crate) const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// Case is ignored.
pub(super) fn parse_protocol(text: &str) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| text.eq_ignore_ascii_case(protocol_name(*p)))
}

/// The name of a listener that was given none.
pub(super) fn default_name(protocol: Protocol, port: i64) -> String {
    format!("{}-{port}", protocol_name(protocol).to_ascii_lowercase())
}

pub(super) fn check(raw: &[Listener], problems: &mut Problems) -> Vec<CheckedListener> {
    if raw.is_empty() {
        let remedy = "add a listener with port, protocol and backendPort";
        problems.add("spec.listeners", raw, "no listener", remedy);
    }
    let mut names = BTreeMap::new();
    let mut ports = BTreeMap::new();
    let mut checked = Vec::new();
    for (index, listener) in raw.iter().enumerate() {
        let path = format!("spec.listeners[{index}]");
        let Some(listener) = check_one(listener, &path, problems) else { continue };
        if let Some(first) = names.insert(listener.name.clone(), index) {
            let problem = format!("duplicate name: spec.listeners[{first}] has it, too");
            problems.add(format!("{path}.name"), &listener.name, problem, "give another name");
        }
        if let Some(first) = ports.insert((listener.port, listener.protocol), index) {
            let problem = format!(
                "duplicate port: spec.listeners[{first}] listens on {} {}, too",
                protocol_name(listener.protocol),
                listener.port
            );
            let remedy = "give another port or protocol, or remove one of the two";
            problems.add(format!("{path}.port"), listener.port.get(), problem, remedy);
        }
        checked.push(listener);
    }
    checked
}

fn check_one(raw: &Listener, path: &str, problems: &mut Problems) -> Option<CheckedListener> {
    let protocol = parse_protocol(&raw.protocol);
    if protocol.is_none() {
        problems.add(format!("{path}.protocol"), &raw.protocol, "unknown protocol", "use TCP or UDP");
    }
    let port = check_port(raw.port, &format!("{path}.port"), problems);
    let backend_port = check_port(raw.backend_port, &format!("{path}.backendPort"), problems);
    if !raw.name.is_empty()
        && let Err(rule) = names::label(&raw.name)
    {
        problems.add(format!("{path}.name"), &raw.name, "not a listener name", rule.to_string());
    }
    let (protocol, port, backend_port) = (protocol?, port?, backend_port?);
    let name = if raw.name.is_empty() { default_name(protocol, raw.port) } else { raw.name.clone() };
    Some(CheckedListener { name, port, protocol, backend_port })
}

fn check_port(number: i64, path: &str, problems: &mut Problems) -> Option<Port> {
    let port = Port::new(number);
    if port.is_none() {
        problems.add(path, number, "not a port", "use a number from 1 to 65535");
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_1_to_65535() {
        for (number, valid) in
            [(-1, false), (0, false), (1, true), (65_535, true), (65_536, false), (i64::MAX, false)]
        {
            assert_eq!(Port::new(number).is_some(), valid, "{number}");
        }
    }
}
