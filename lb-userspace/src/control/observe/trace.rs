//! A test packet, and each decision about it.

use std::net::SocketAddr;

use lb_common::net::Protocol;
use lb_common::observe::Code;
use lb_common::reason::Reason;
use serde::{Deserialize, Serialize};

use super::frame::{self, Flags};
use super::words::Names;
use super::{ObservePackets, Observer, wrong};
use crate::control::report::{InterfaceReport, Report};
use crate::datapath::observe::{Question, Side};
use crate::datapath::port::{Hook, Role};

/// The longest payload of a test packet.
const MAX_SIZE: usize = 1400;

/// A question, as it is asked.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTrace {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Address and port.
    pub source: String,
    /// Address and port.
    pub destination: String,
    /// The interface that it comes in by, or goes out of; the first uplink if it is empty.
    pub interface: String,
    /// Flags of TCP, as `SYN` or `SYN|ACK`; `SYN` if it is empty.
    pub flags: String,
    /// Bytes of payload.
    pub size: usize,
    /// It goes out, as answers do.
    pub egress: bool,
}

/// One decision.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What is decided: `vip`, `listener`, `backend`…
    pub what: String,
    /// How.
    pub text: String,
}

impl Step {
    pub(super) fn new(what: &str, text: impl Into<String>) -> Self {
        Self { what: what.to_owned(), text: text.into() }
    }
}

/// What the programs would do.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TraceReport {
    /// The interface.
    pub interface: String,
    /// `xdp`, `tc-ingress` or `tc-egress`.
    pub hook: String,
    /// Decisions, in their order.
    pub steps: Vec<Step>,
    /// The frame as it comes.
    pub before: String,
    /// The frame as it is left.
    pub after: String,
    /// `pass`, `drop`, `transmit back` or `redirect`.
    pub verdict: String,
    /// The last reason; empty for a packet that is simply forwarded.
    pub reason: String,
}

impl Observer {
    /// Asks the packet programs. It takes the time of loading them once more: call it where waiting is allowed.
    ///
    /// # Errors
    /// When the question makes no sense, or the datapath can't tell.
    pub fn trace(&self, asked: &RawTrace, report: &Report) -> Result<TraceReport, ObservePackets> {
        let interface = interface(&asked.interface, &report.node.interfaces)?;
        let side = side(interface, asked.egress)?;
        let (source, destination) =
            (address("source", &asked.source)?, address("destination", &asked.destination)?);
        let index = nix::net::if_::if_nametoindex(interface.name.as_str())
            .map_err(|error| wrong("interface", format!("{}: {error}", interface.name)))?;
        let frame = build(asked, source, destination)?;
        let question = Question { side, interface: index, frame };
        let traced = self.door.trace(&question)?;
        let names = Names {
            side,
            report: &report.backends,
            backends: &traced.backends,
            protocol: &asked.protocol,
            destination,
        };
        let arrival = format!("{} ({}), {}", interface.name, interface.role, side.name());
        let mut steps = vec![Step::new("interface", arrival)];
        if side != Side::Egress {
            steps.push(names.vip());
        }
        steps.extend(traced.notes.iter().filter_map(|note| names.step(note)));
        let mut reasons = traced.notes.iter().rev().filter(|note| Code::numbered(note.code) == Code::Reason);
        let reason = reasons.next().and_then(|note| Reason::ALL.get(note.first as usize));
        let (before, after) = (frame::words(&traced.sent), frame::words(&traced.frame));
        steps.push(Step::new("rewrite", if before == after { "none".to_owned() } else { after.clone() }));
        let verdict = side.verdict(traced.code).to_owned();
        steps.push(Step::new("verdict", verdict.clone()));
        Ok(TraceReport {
            interface: interface.name.clone(),
            hook: side.name().to_owned(),
            steps,
            before,
            after,
            verdict,
            reason: reason.map(|reason| reason.name().to_owned()).unwrap_or_default(),
        })
    }
}

fn interface<'a>(
    name: &str,
    interfaces: &'a [InterfaceReport],
) -> Result<&'a InterfaceReport, ObservePackets> {
    let is_meant = |interface: &&InterfaceReport| match name {
        "" => interface.role == Role::Uplink.name(),
        name => interface.name == name,
    };
    interfaces.iter().find(is_meant).ok_or_else(|| {
        let served: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        wrong("interface", format!("{name:?} is not served; served are {}", served.join(", ")))
    })
}

fn side(interface: &InterfaceReport, egress: bool) -> Result<Side, ObservePackets> {
    match Hook::named(&interface.hook) {
        None => Err(wrong("interface", format!("no program is attached to {}", interface.name))),
        Some(_) if egress => Ok(Side::Egress),
        Some(hook) if hook.is_xdp() => Ok(Side::Xdp),
        Some(_) => Ok(Side::Ingress),
    }
}

fn address(field: &'static str, text: &str) -> Result<SocketAddr, ObservePackets> {
    let example = "write an address with a port, as 192.0.2.1:80 or [2001:db8::1]:80";
    text.parse().map_err(|_invalid| wrong(field, format!("{text:?}: {example}")))
}

fn build(asked: &RawTrace, source: SocketAddr, destination: SocketAddr) -> Result<Vec<u8>, ObservePackets> {
    let protocol = match asked.protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(wrong("protocol", format!("{:?}: write tcp or udp", asked.protocol))),
    };
    let flags = if asked.flags.is_empty() { "SYN" } else { &asked.flags };
    let flags = Flags::parse(flags)
        .ok_or_else(|| wrong("flags", format!("{flags:?}: write SYN, ACK, FIN, RST, PSH, joined by |")))?;
    if asked.size > MAX_SIZE {
        return Err(wrong("size", format!("{}: at most {MAX_SIZE} bytes of payload", asked.size)));
    }
    frame::build(protocol, source, destination, flags, asked.size)
        .ok_or_else(|| wrong("destination", "source and destination are of two address families"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> Vec<InterfaceReport> {
        let one = |name: &str, role: &str, hook: &str| InterfaceReport {
            name: name.into(),
            role: role.into(),
            hook: hook.into(),
            ..InterfaceReport::default()
        };
        vec![one("vm1", "vm-port", "tc"), one("up0", "uplink", "xdp"), one("up1", "uplink", "")]
    }

    #[test]
    fn the_first_uplink_is_meant_unless_one_is_named() {
        let interfaces = interfaces();
        assert_eq!(interface("", &interfaces).unwrap().name, "up0");
        assert_eq!(interface("vm1", &interfaces).unwrap().name, "vm1");
        let error = interface("eth9", &interfaces).unwrap_err().to_string();
        assert!(error.contains("served are vm1, up0, up1"), "{error}");
        assert_eq!(side(&interfaces[1], false).unwrap(), Side::Xdp);
        assert_eq!(side(&interfaces[1], true).unwrap(), Side::Egress);
        assert_eq!(side(&interfaces[0], false).unwrap(), Side::Ingress);
        assert!(side(&interfaces[2], false).is_err());
    }

    #[test]
    fn wrong_questions_name_their_field() {
        let ends = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        for (asked, field) in [
            (RawTrace { protocol: "sctp".into(), ..RawTrace::default() }, "protocol"),
            (RawTrace { protocol: "tcp".into(), flags: "XMAS".into(), ..RawTrace::default() }, "flags"),
            (RawTrace { protocol: "udp".into(), size: 9000, ..RawTrace::default() }, "size"),
        ] {
            let error = build(&asked, ends.0, ends.1).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        assert!(address("source", "192.0.2.1").unwrap_err().to_string().starts_with("source"));
    }
}
