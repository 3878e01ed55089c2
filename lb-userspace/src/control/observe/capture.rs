//! Packets as they came and as they were left.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::interfaces::Interfaces;
use super::{ObservePackets, Observer, Stream, ends_after, frame, wrong};
use crate::control::report::BackendsReport;
use crate::datapath::observe::{Capture, Filter, Frame, Packet};

/// How long to wait for packets before looking whether anybody still wants them.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// Which packets, and how many, as it is asked.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawCapture {
    /// To or from this VIP.
    pub vip: Option<IpAddr>,
    /// Of this client.
    pub client: Option<IpAddr>,
    /// To or from this port.
    pub port: Option<u16>,
    /// To or from the VIP of this load balancer: namespace and name.
    pub lb: Option<String>,
    /// Ends after so many packets.
    pub count: Option<u64>,
    /// Ends after so many seconds.
    pub seconds: Option<u64>,
}

/// A captured packet.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CapturedPacket {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The interface.
    pub interface: String,
    /// `xdp`, `tc-ingress` or `tc-egress`.
    pub hook: String,
    /// `pass`, `drop`, `transmit back` or `redirect`.
    pub verdict: String,
    /// The last reason; empty for a packet that was simply forwarded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// As it came, in words.
    pub came: String,
    /// As it was left, in words.
    pub left: String,
    /// Bytes of the frame as it came.
    pub before_length: u32,
    /// Its beginning, in hexadecimal digits.
    pub before: String,
    /// Bytes of the frame as it was left.
    pub after_length: u32,
    /// Its beginning, in hexadecimal digits.
    pub after: String,
}

/// The last line of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CaptureSummary {
    /// Packets captured.
    pub packets: u64,
    /// Packets that were wanted and not captured: too many in too short a time.
    pub lost: u64,
}

/// A capture that is under way; it ends on drop.
pub struct Captures {
    observer: Observer,
    capture: Box<dyn Capture>,
    left: u64,
    until: Option<Instant>,
    seen: u64,
    interfaces: Interfaces,
    /// From boot to 1970.
    offset: Duration,
}

impl Observer {
    /// Starts a capture. It takes the time of loading the packet programs once more: call it where waiting is
    /// allowed.
    ///
    /// # Errors
    /// When the question makes no sense, another capture runs, or the datapath can't.
    pub fn capture(&self, asked: &RawCapture, report: &BackendsReport) -> Result<Captures, ObservePackets> {
        let vip = match (&asked.lb, asked.vip) {
            (Some(_), Some(_)) => return Err(wrong("lb", "name either a VIP or a load balancer")),
            (Some(name), None) => Some(vip_of(name, report)?),
            (None, vip) => vip,
        };
        let families = [vip, asked.client].into_iter().flatten();
        if families.clone().any(|address| address.is_ipv4()) && families.clone().any(|a| a.is_ipv6()) {
            return Err(wrong("client", "VIP and client are of two address families"));
        }
        let filter = Filter { vip, client: asked.client, port: asked.port };
        let capture = self.door.capture(&filter)?;
        Ok(Captures {
            observer: self.clone(),
            capture,
            left: asked.count.unwrap_or(u64::MAX),
            until: asked.seconds.and_then(ends_after),
            seen: 0,
            interfaces: Interfaces::default(),
            offset: since_1970_at_boot(),
        })
    }
}

pub(super) fn vip_of(name: &str, report: &BackendsReport) -> Result<IpAddr, ObservePackets> {
    let mut balancers = report.load_balancers.iter();
    let found = balancers.find(|one| match name.split_once('/') {
        Some((namespace, name)) => one.namespace == namespace && one.name == name,
        None => one.name == name,
    });
    let address = found.and_then(|balancer| balancer.address.parse().ok());
    address.ok_or_else(|| wrong("lb", format!("no load balancer {name:?} has an address")))
}

/// What to add to the clock that packets are timed by.
pub(super) fn since_1970_at_boot() -> Duration {
    let now = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    now(ClockId::CLOCK_REALTIME).saturating_sub(now(ClockId::CLOCK_MONOTONIC))
}

impl Stream for Captures {
    type Item = CapturedPacket;
    type Summary = CaptureSummary;

    fn more(&mut self) -> Result<Option<Vec<CapturedPacket>>, ObservePackets> {
        let is_late = self.until.is_some_and(|until| Instant::now() >= until);
        if self.left == 0 || is_late || self.observer.is_stopped() {
            return Ok(None);
        }
        let mut packets = self.capture.packets(PATIENCE)?;
        packets.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = packets.len() as u64;
        self.left -= count;
        self.seen += count;
        Ok(Some(packets.iter().map(|packet| self.told(packet)).collect()))
    }

    fn summary(&self) -> Result<CaptureSummary, ObservePackets> {
        Ok(CaptureSummary { packets: self.seen, lost: self.capture.lost()? })
    }
}

impl Captures {
    fn told(&mut self, packet: &Packet) -> CapturedPacket {
        CapturedPacket {
            time: u64::try_from((self.offset + packet.time).as_nanos()).unwrap_or(u64::MAX),
            interface: self.interfaces.name(packet.interface).to_owned(),
            hook: packet.side.name().to_owned(),
            verdict: packet.side.verdict(packet.code).to_owned(),
            reason: packet.reason.map(|reason| reason.name().to_owned()).unwrap_or_default(),
            came: frame::words(&packet.before.bytes),
            left: frame::words(&packet.after.bytes),
            before_length: packet.before.length,
            before: hexadecimal(&packet.before),
            after_length: packet.after.length,
            after: hexadecimal(&packet.after),
        }
    }
}

fn hexadecimal(frame: &Frame) -> String {
    frame.bytes.iter().fold(String::with_capacity(frame.bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write;
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
