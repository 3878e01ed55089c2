//! Health checks: defaults and bounds (rules V7 and V8 with decisions D2 and D8).

use std::num::NonZeroU32;
use std::time::Duration;

use lb_common::net::Protocol;

use super::listener::{Port, parse_protocol};
use crate::model::field::Problems;
use crate::model::load_balancer::{HealthCheck, Listener};

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

/// A TCP check of every backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedHealthCheck {
    /// The probed port.
    pub port: Port,
    /// Successes in a row that make a backend ready.
    pub success_threshold: NonZeroU32,
    /// Failures in a row that make it not ready.
    pub failure_threshold: NonZeroU32,
    /// From probe to probe.
    pub period: Duration,
    /// After which a probe has failed; at most `period`.
    pub timeout: Duration,
}

impl HealthCheck {
    /// With the defaults in place of zeros. A check that is off stays as it is.
    pub(super) fn with_defaults(&self) -> Self {
        if self.port == 0 {
            return self.clone();
        }
        let or = |number: i64, default: i64| if number == 0 { default } else { number };
        let period_seconds = or(self.period_seconds, PERIOD);
        Self {
            port: self.port,
            success_threshold: or(self.success_threshold, SUCCESS_THRESHOLD),
            failure_threshold: or(self.failure_threshold, FAILURE_THRESHOLD),
            period_seconds,
            timeout_seconds: or(self.timeout_seconds, TIMEOUT.min(period_seconds)),
        }
    }
}

/// `None` if the check is off, or after a problem.
pub(super) fn check(
    raw: Option<&HealthCheck>,
    listeners: &[Listener],
    problems: &mut Problems,
) -> Option<CheckedHealthCheck> {
    let raw = raw.filter(|raw| raw.port != 0)?.with_defaults();
    let port = check_port(raw.port, listeners, problems);
    let mut bounded = |field: &str, number: i64, max: i64, unit: &str| {
        let bounded = u32::try_from(number).ok().filter(|_| number <= max).and_then(NonZeroU32::new);
        if bounded.is_none() {
            let remedy = format!("use 1 to {max}{unit}, or leave it out");
            problems.add(format!("spec.healthCheck.{field}"), number, "out of range", remedy);
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
        problems.add("spec.healthCheck.timeoutSeconds", timeout.get(), problem, remedy);
    }
    let seconds = |number: NonZeroU32| Duration::from_secs(u64::from(number.get()));
    Some(CheckedHealthCheck {
        port: port?,
        success_threshold: success_threshold?,
        failure_threshold: failure_threshold?,
        period: seconds(period),
        timeout: seconds(timeout),
    })
}

fn check_port(number: i64, listeners: &[Listener], problems: &mut Problems) -> Option<Port> {
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
        return "add a TCP listener, or leave healthCheck out".to_owned();
    }
    format!("use {}, or leave healthCheck out", ports.join(" or "))
}
