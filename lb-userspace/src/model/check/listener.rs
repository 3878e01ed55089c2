//! Listeners: names, ports and protocols (rules V1 to V6 with decisions D5 to D7).

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;

use lb_common::net::Protocol;

use super::health_check::{self, ListenerCheck};
use crate::model::field::Problems;
use crate::model::load_balancer::Listener;
use crate::model::names;

/// Listeners of one load balancer, at most: ranges of ports are one each, and every pair is compared.
const MAX_LISTENERS: usize = 1024;

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
    /// Dialled by clients; unique together with `protocol` and `end_port`.
    pub port: Port,
    /// The last port of a range: above `port`. Ranges of one protocol do not overlap; a listener on one of
    /// their ports takes it from them.
    pub end_port: Option<Port>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The VM's port; `None` is the port that was dialled.
    pub backend_port: Option<Port>,
    /// Only a SYN opens a connection.
    pub strict: bool,
    /// By which check its backends are ready.
    pub health_check: ListenerCheck,
}

impl CheckedListener {
    /// The VM's port as its address carries it: 0 for the port that was dialled.
    pub fn server_port(&self) -> u16 {
        self.backend_port.map_or(0, Port::get)
    }

    /// The first and the last port of a range.
    fn range(&self) -> Option<(Port, Port)> {
        self.end_port.map(|end| (self.port, end))
    }

    /// Both are ranges, of one protocol, and have a port in common.
    fn overlaps(&self, other: &Self) -> bool {
        let (Some((first, last)), Some((others_first, others_last))) = (self.range(), other.range()) else {
            return false;
        };
        self.protocol == other.protocol && first <= others_last && others_first <= last
    }

    /// Both listen on the same single port.
    fn equals(&self, other: &Self) -> bool {
        let single = self.end_port.is_none() && other.end_port.is_none();
        single && (self.port, self.protocol) == (other.port, other.protocol)
    }
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
pub(super) fn default_name(protocol: Protocol, port: i64, end_port: i64) -> String {
    let protocol = protocol_name(protocol).to_ascii_lowercase();
    if end_port == 0 { format!("{protocol}-{port}") } else { format!("{protocol}-{port}-{end_port}") }
}

pub(super) fn check(raw: &[Listener], problems: &mut Problems) -> Vec<CheckedListener> {
    if raw.is_empty() {
        let remedy = "add a listener with port, protocol and backendPort";
        problems.add("spec.listeners", raw, "no listener", remedy);
    }
    if raw.len() > MAX_LISTENERS {
        let problem = format!("more than {MAX_LISTENERS} listeners");
        problems.add("spec.listeners", raw.len(), problem, "listen on ranges of ports with endPort");
        return Vec::new();
    }
    let mut names = BTreeMap::new();
    let mut checked: Vec<(usize, CheckedListener)> = Vec::new();
    for (index, listener) in raw.iter().enumerate() {
        let path = format!("spec.listeners[{index}]");
        let Some(listener) = check_one(listener, &path, problems) else { continue };
        if let Some(first) = names.insert(listener.name.clone(), index) {
            let problem = format!("duplicate name: spec.listeners[{first}] has it, too");
            problems.add(format!("{path}.name"), &listener.name, problem, "give another name");
        }
        // The first that is in its way says enough: of many, each would be in the way of each.
        for (first, other) in &checked {
            if !check_ports(&listener, &path, *first, other, problems) {
                break;
            }
        }
        checked.push((index, listener));
    }
    checked.into_iter().map(|(_, listener)| listener).collect()
}

/// Whether neither is in the other's way.
fn check_ports(
    listener: &CheckedListener,
    path: &str,
    first: usize,
    other: &CheckedListener,
    problems: &mut Problems,
) -> bool {
    let protocol = protocol_name(listener.protocol);
    if listener.equals(other) {
        let problem =
            format!("duplicate port: spec.listeners[{first}] listens on {protocol} {}, too", other.port);
        let remedy = "give another port or protocol, or remove one of the two";
        problems.add(format!("{path}.port"), listener.port.get(), problem, remedy);
        false
    } else if listener.overlaps(other)
        && let Some((from, to)) = other.range()
    {
        let problem =
            format!("overlapping range: spec.listeners[{first}] listens on {protocol} {from} to {to}");
        let remedy = "make the ranges meet without overlapping, or remove one of the two";
        problems.add(format!("{path}.endPort"), listener.end_port.map_or(0, Port::get), problem, remedy);
        false
    } else {
        true
    }
}

fn check_one(raw: &Listener, path: &str, problems: &mut Problems) -> Option<CheckedListener> {
    let protocol = parse_protocol(&raw.protocol);
    if protocol.is_none() {
        problems.add(format!("{path}.protocol"), &raw.protocol, "unknown protocol", "use TCP or UDP");
    }
    let port = check_port(raw.port, &format!("{path}.port"), problems);
    let ends = if raw.end_port == 0 {
        let backend_port = check_port(raw.backend_port, &format!("{path}.backendPort"), problems);
        backend_port.map(|backend_port| (None, Some(backend_port)))
    } else {
        check_range(raw, path, problems).map(|end_port| (Some(end_port), None))
    };
    if raw.strict && protocol == Some(Protocol::Udp) {
        let remedy = "leave it out: UDP knows no connections";
        problems.add(format!("{path}.strict"), raw.strict, "only for TCP", remedy);
    }
    if !raw.name.is_empty()
        && let Err(rule) = names::label(&raw.name)
    {
        problems.add(format!("{path}.name"), &raw.name, "not a listener name", rule.to_string());
    }
    let health_check = health_check::check_own(raw, path, problems);
    let (protocol, port, (end_port, backend_port)) = (protocol?, port?, ends?);
    let default = || default_name(protocol, raw.port, raw.end_port);
    let name = if raw.name.is_empty() { default() } else { raw.name.clone() };
    Some(CheckedListener { name, port, end_port, protocol, backend_port, strict: raw.strict, health_check })
}

/// The last port of a range.
fn check_range(raw: &Listener, path: &str, problems: &mut Problems) -> Option<Port> {
    let end = check_port(raw.end_port, &format!("{path}.endPort"), problems);
    if end.is_some() && raw.end_port <= raw.port {
        let remedy = "use a port above it, or leave endPort out";
        problems.add(format!("{path}.endPort"), raw.end_port, "not above port", remedy);
        return None;
    }
    if raw.backend_port != 0 {
        let problem = "a range has no backend port: clients reach the port that they dial";
        problems.add(format!("{path}.backendPort"), raw.backend_port, problem, "leave it out");
        return None;
    }
    end
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

    fn range(port: i64, end_port: i64, protocol: &str) -> Listener {
        Listener { port, end_port, protocol: protocol.into(), ..Listener::default() }
    }

    fn problems_of(listeners: &[Listener]) -> Vec<String> {
        let mut problems = Problems::default();
        let checked = check(listeners, &mut problems);
        let errors = problems.result(checked).err().unwrap_or_default();
        errors.iter().map(|error| format!("{}: {}", error.path, error.problem)).collect()
    }

    #[test]
    fn ranges_of_one_protocol_do_not_overlap() {
        let listeners =
            [range(80, 90, "TCP"), range(90, 95, "TCP"), range(85, 95, "UDP"), range(1, 79, "TCP")];
        assert_eq!(
            problems_of(&listeners),
            ["spec.listeners[1].endPort: overlapping range: spec.listeners[0] listens on TCP 80 to 90"]
        );
    }

    #[test]
    fn a_port_may_be_taken_out_of_a_range() {
        let single = Listener { backend_port: 8085, end_port: 0, ..range(80, 0, "TCP") };
        assert_eq!(problems_of(&[range(80, 90, "TCP"), single.clone()]), [""; 0]);
        let problems = problems_of(&[single.clone(), Listener { name: "again".into(), ..single }]);
        assert_eq!(
            problems,
            ["spec.listeners[1].port: duplicate port: spec.listeners[0] listens on TCP 80, too"]
        );
    }

    #[test]
    fn a_range_ends_above_its_beginning_and_keeps_the_dialled_port() {
        assert_eq!(problems_of(&[range(80, 80, "TCP")]), ["spec.listeners[0].endPort: not above port"]);
        assert_eq!(problems_of(&[range(80, 70_000, "TCP")]), ["spec.listeners[0].endPort: not a port"]);
        let problems = problems_of(&[Listener { backend_port: 8080, ..range(80, 90, "TCP") }]);
        assert_eq!(
            problems,
            ["spec.listeners[0].backendPort: a range has no backend port: \
              clients reach the port that they dial"]
        );
    }

    #[test]
    fn only_tcp_listeners_are_strict() {
        let listeners = [
            Listener { strict: true, ..range(80, 90, "TCP") },
            Listener { strict: true, ..range(80, 90, "UDP") },
        ];
        assert_eq!(problems_of(&listeners), ["spec.listeners[1].strict: only for TCP"]);
    }
}
