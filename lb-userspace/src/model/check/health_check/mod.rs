//! Health checks: defaults and bounds (rules V7 and V8 with decisions D2, D4 and D8).

mod method;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lb_common::net::Protocol;

use super::listener::{Port, parse_protocol};
use super::words;
use crate::model::field::Problems;
use crate::model::health_check::HealthCheck;
use crate::model::load_balancer::Listener;
pub use method::{CheckedTls, ProbeMethod, StatusRange};
use method::{KINDS, Kind};

/// Successes in a row that make a backend ready, unless given.
const SUCCESS_THRESHOLD: i64 = 1;
/// Failures in a row that make a backend not ready, unless given.
const FAILURE_THRESHOLD: i64 = 3;
/// Seconds from probe to probe, unless given.
const PERIOD: i64 = 5;
/// Seconds after which a probe has failed, unless given or the period is shorter.
const TIMEOUT: i64 = 3;
/// The greatest threshold: more is a mistake.
const MAX_THRESHOLD: i64 = 1_000;
/// The greatest period, in seconds: a day.
const MAX_PERIOD: i64 = 86_400;

/// A check of every backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedHealthCheck {
    /// The probed port.
    pub port: Port,
    /// What is asked there, and what answer is good.
    pub method: ProbeMethod,
    /// Successes in a row that make a backend ready.
    pub success_threshold: NonZeroU32,
    /// Failures in a row that make it not ready.
    pub failure_threshold: NonZeroU32,
    /// From probe to probe.
    pub period: Duration,
    /// After which a probe has failed; at most `period`.
    pub timeout: Duration,
}

/// By which check a listener's backends are ready.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum ListenerCheck {
    /// The load balancer's.
    #[default]
    Shared,
    /// One of its own; `None` is not checked.
    Own(Option<Arc<CheckedHealthCheck>>),
}

impl HealthCheck {
    /// With the defaults in place of zeros. A check that is off stays as it is.
    pub(super) fn with_defaults(self, is_own: bool) -> Self {
        if self.port == 0 && !is_own || self.kind == method::NONE {
            return self;
        }
        let or = |number: i64, default: i64| if number == 0 { default } else { number };
        let period_seconds = or(self.period_seconds, PERIOD);
        Self {
            success_threshold: or(self.success_threshold, SUCCESS_THRESHOLD),
            failure_threshold: or(self.failure_threshold, FAILURE_THRESHOLD),
            period_seconds,
            timeout_seconds: or(self.timeout_seconds, TIMEOUT.min(period_seconds.max(1))),
            ..self
        }
    }
}

/// The load balancer's check; `None` if it is off, or after a problem.
pub(super) fn check(
    raw: Option<&HealthCheck>,
    listeners: &[Listener],
    problems: &mut Problems,
) -> Option<Arc<CheckedHealthCheck>> {
    let raw = raw?;
    let path = "spec.healthCheck";
    let kind = words::check(KINDS, &format!("{path}.type"), &raw.kind, problems);
    let is_meant = raw.port != 0 || !matches!(kind, Kind::Default | Kind::None);
    if kind == Kind::None || !is_meant {
        return None;
    }
    let port = match kind {
        Kind::Default | Kind::Tcp => check_tcp_port(raw.port, listeners, problems),
        Kind::None | Kind::Http | Kind::Https | Kind::Udp | Kind::Grpc => {
            check_port(raw.port, path, problems)
        }
    };
    checked(raw, kind, port, path, problems)
}

/// A listener's own check.
pub(super) fn check_own(listener: &Listener, path: &str, problems: &mut Problems) -> ListenerCheck {
    let Some(raw) = &listener.health_check else { return ListenerCheck::Shared };
    let path = format!("{path}.healthCheck");
    let mut kind = words::check(KINDS, &format!("{path}.type"), &raw.kind, problems);
    if kind == Kind::None {
        return ListenerCheck::Own(None);
    }
    if kind == Kind::Default && parse_protocol(&listener.protocol) == Some(Protocol::Udp) {
        kind = Kind::Udp;
    }
    let port = match (raw.port, listener.end_port) {
        // What is wrong with the backend port is reported with the listener.
        (0, 0) => Port::new(listener.backend_port),
        (0, _) => {
            let problem = "not given, and a range has no single backend port";
            problems.add(format!("{path}.port"), 0, problem, "name the port to probe");
            None
        }
        (number, _) => check_port(number, &path, problems),
    };
    ListenerCheck::Own(checked(raw, kind, port, &path, problems))
}

fn checked(
    raw: &HealthCheck,
    kind: Kind,
    port: Option<Port>,
    path: &str,
    problems: &mut Problems,
) -> Option<Arc<CheckedHealthCheck>> {
    let raw = raw.clone().with_defaults(true);
    let method = method::check(&raw, kind, path, problems);
    let mut bounded = |field: &str, number: i64, max: i64, unit: &str| {
        let bounded = u32::try_from(number).ok().filter(|_| number <= max).and_then(NonZeroU32::new);
        if bounded.is_none() {
            let remedy = format!("use 1 to {max}{unit}, or leave it out");
            problems.add(format!("{path}.{field}"), number, "out of range", remedy);
        }
        bounded
    };
    let success_threshold = bounded("successThreshold", raw.success_threshold, MAX_THRESHOLD, "");
    let failure_threshold = bounded("failureThreshold", raw.failure_threshold, MAX_THRESHOLD, "");
    let period = bounded("periodSeconds", raw.period_seconds, MAX_PERIOD, " seconds");
    let timeout = bounded("timeoutSeconds", raw.timeout_seconds, MAX_PERIOD, " seconds");
    let (period, timeout) = (period?, timeout?);
    if timeout > period {
        let problem = format!("longer than the period of {period} seconds");
        let remedy = format!("use 1 to {period}, or a longer periodSeconds");
        problems.add(format!("{path}.timeoutSeconds"), timeout.get(), problem, remedy);
    }
    let seconds = |number: NonZeroU32| Duration::from_secs(u64::from(number.get()));
    Some(Arc::new(CheckedHealthCheck {
        port: port?,
        method: method?,
        success_threshold: success_threshold?,
        failure_threshold: failure_threshold?,
        period: seconds(period),
        timeout: seconds(timeout),
    }))
}

fn check_port(number: i64, path: &str, problems: &mut Problems) -> Option<Port> {
    let port = Port::new(number);
    if port.is_none() {
        problems.add(format!("{path}.port"), number, "not a port", "use a number from 1 to 65535");
    }
    port
}

/// Harvester's rule: a port that a TCP listener's backends serve.
fn check_tcp_port(number: i64, listeners: &[Listener], problems: &mut Problems) -> Option<Port> {
    let mut only_udp = false;
    let serves = |listener: &&Listener| match listener.end_port {
        0 => listener.backend_port == number,
        end_port => (listener.port..=end_port).contains(&number),
    };
    for listener in listeners.iter().filter(serves) {
        match parse_protocol(&listener.protocol) {
            Some(Protocol::Tcp) => return Port::new(number),
            Some(Protocol::Udp) => only_udp = true,
            // Reported with the listener; it may be meant to be TCP.
            None => return None,
        }
    }
    let problem = if only_udp {
        "the backend port of a UDP listener: only TCP is probed"
    } else {
        "not the backend port of a listener"
    };
    problems.add("spec.healthCheck.port", number, problem, remedy(listeners));
    None
}

fn remedy(listeners: &[Listener]) -> String {
    let tcp = listeners.iter().filter(|listener| parse_protocol(&listener.protocol) == Some(Protocol::Tcp));
    let ports = tcp.map(|listener| match listener.end_port {
        0 => listener.backend_port.to_string(),
        end_port => format!("a port from {} to {end_port}", listener.port),
    });
    let ports: Vec<String> = ports.collect();
    if ports.is_empty() {
        return "give type UDP or another one, or leave healthCheck out".to_owned();
    }
    format!("use {}, give another type, or leave healthCheck out", ports.join(" or "))
}
