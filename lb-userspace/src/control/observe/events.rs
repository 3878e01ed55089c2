//! What happens to flows and packets, one event after the other.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::capture::{PATIENCE, since_1970_at_boot, vip_of};
use super::frame;
use super::interfaces::Interfaces;
use super::{ObservePackets, Observer, Stream, ends_after, wrong};
use crate::control::flows::Names;
use crate::control::report::BackendsReport;
use crate::datapath::flows::model::Flow;
use crate::datapath::observe::event::{Carried, Event, Happening, Listening};

/// The kinds of events, as they are asked for and told.
const KINDS: [&str; 3] = ["opened", "closed", "dropped"];

/// Which events, and how many, as it is asked.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawEvents {
    /// To or from the VIP of this load balancer: namespace and name.
    pub lb: Option<String>,
    /// Of this client.
    pub client: Option<IpAddr>,
    /// `opened`, `closed` or `dropped`.
    pub kind: Option<String>,
    /// Ends after so many events.
    pub count: Option<u64>,
    /// Ends after so many seconds.
    pub seconds: Option<u64>,
}

/// An event, as people and programs read it.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventRow {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// `opened`, `closed` or `dropped`.
    pub kind: String,
    /// Of a flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowTold>,
    /// Of a closed flow, if it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried: Option<CarriedTold>,
    /// Of a drop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<DropTold>,
}

/// A flow in an event.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FlowTold {
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Who dialled: address and port.
    pub client: String,
    /// What was dialled.
    pub vip: String,
    /// Who answers.
    pub server: String,
    /// The client as the server sees it, where that is another address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The VM behind the server address; empty if that is not known.
    pub vm: String,
    /// Namespace and name; empty if that is not known.
    pub load_balancer: String,
}

/// What a closed flow carried.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CarriedTold {
    /// From its first packet to its end.
    pub duration_seconds: f64,
    /// Towards the server.
    pub forward_packets: u64,
    /// From the Ethernet header on.
    pub forward_bytes: u64,
    /// Towards the client.
    pub reply_packets: u64,
    /// From the Ethernet header on.
    pub reply_bytes: u64,
}

/// A dropped packet.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DropTold {
    /// The reason's name, as in `lb status`.
    pub reason: String,
    /// The interface.
    pub interface: String,
    /// `xdp`, `tc-ingress` or `tc-egress`.
    pub hook: String,
    /// The packet, in words.
    pub packet: String,
    /// Bytes of the frame.
    pub length: u32,
}

/// The last line of events.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventsSummary {
    /// Events told.
    pub events: u64,
    /// Events of flows that were too many in too short a time.
    pub lost_flows: u64,
    /// Drops of which no sample was taken.
    pub lost_drops: u64,
}

/// Which events are wanted.
#[derive(Clone, Copy, Default, Debug)]
struct Filter {
    vip: Option<IpAddr>,
    client: Option<IpAddr>,
    kind: Option<&'static str>,
}

/// Listening that is under way; it ends on drop.
pub struct Events {
    observer: Observer,
    listening: Box<dyn Listening>,
    filter: Filter,
    names: Names,
    interfaces: Interfaces,
    left: u64,
    until: Option<Instant>,
    told: u64,
    /// From boot to 1970.
    offset: Duration,
}

impl Observer {
    /// Starts to listen. Names are those of the report.
    ///
    /// # Errors
    /// When the question makes no sense, somebody else listens, or the datapath can't.
    pub fn events(&self, asked: &RawEvents, report: &BackendsReport) -> Result<Events, ObservePackets> {
        let vip = asked.lb.as_deref().map(|name| vip_of(name, report)).transpose()?;
        let kind = asked.kind.as_deref().map(kind).transpose()?;
        Ok(Events {
            observer: self.clone(),
            listening: self.door.listen()?,
            filter: Filter { vip, client: asked.client, kind },
            names: Names::new(report),
            interfaces: Interfaces::default(),
            left: asked.count.unwrap_or(u64::MAX),
            until: asked.seconds.and_then(ends_after),
            told: 0,
            offset: since_1970_at_boot(),
        })
    }
}

fn kind(text: &str) -> Result<&'static str, ObservePackets> {
    let known = KINDS.into_iter().find(|kind| kind.eq_ignore_ascii_case(text));
    known.ok_or_else(|| {
        wrong("kind", format!("{text:?} is no kind of event; use one of {}", KINDS.join(", ")))
    })
}

impl Stream for Events {
    type Item = EventRow;
    type Summary = EventsSummary;

    fn more(&mut self) -> Result<Option<Vec<EventRow>>, ObservePackets> {
        let is_late = self.until.is_some_and(|until| Instant::now() >= until);
        if self.left == 0 || is_late || self.observer.is_stopped() {
            return Ok(None);
        }
        let mut events = self.listening.events(PATIENCE)?;
        events.retain(|event| self.filter.takes(&event.happening));
        events.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = events.len() as u64;
        self.left -= count;
        self.told += count;
        Ok(Some(events.iter().map(|event| self.row(event)).collect()))
    }

    fn summary(&self) -> Result<EventsSummary, ObservePackets> {
        let lost = self.listening.lost()?;
        Ok(EventsSummary { events: self.told, lost_flows: lost.flows, lost_drops: lost.drops })
    }
}

impl Filter {
    fn takes(&self, happening: &Happening) -> bool {
        let (own, ends) = match happening {
            Happening::Opened(flow) => ("opened", Some((flow.client.ip(), flow.vip.ip()))),
            Happening::Closed { flow, .. } => ("closed", Some((flow.client.ip(), flow.vip.ip()))),
            Happening::Dropped { frame, .. } => ("dropped", frame::ends(&frame.bytes)),
        };
        let is_end = |wanted: Option<IpAddr>| {
            wanted.is_none_or(|address| ends.is_some_and(|(from, to)| from == address || to == address))
        };
        self.kind.is_none_or(|kind| kind == own) && is_end(self.vip) && is_end(self.client)
    }
}

impl Events {
    fn row(&mut self, event: &Event) -> EventRow {
        let time = u64::try_from((self.offset + event.time).as_nanos()).unwrap_or(u64::MAX);
        let told = |kind: &str| EventRow { time, kind: kind.to_owned(), ..EventRow::default() };
        match &event.happening {
            Happening::Opened(flow) => EventRow { flow: Some(self.flow(flow)), ..told("opened") },
            Happening::Closed { flow, carried } => EventRow {
                flow: Some(self.flow(flow)),
                carried: carried.as_ref().map(CarriedTold::from),
                ..told("closed")
            },
            Happening::Dropped { reason, interface, side, frame } => EventRow {
                drop: Some(DropTold {
                    reason: reason.map(|reason| reason.name().to_owned()).unwrap_or_default(),
                    interface: self.interfaces.name(*interface).to_owned(),
                    hook: side.name().to_owned(),
                    packet: frame::words(&frame.bytes),
                    length: frame.length,
                }),
                ..told("dropped")
            },
        }
    }

    fn flow(&self, flow: &Flow) -> FlowTold {
        let other =
            |address: SocketAddr| if address == flow.client { String::new() } else { address.to_string() };
        FlowTold {
            protocol: format!("{:?}", flow.protocol).to_uppercase(),
            client: flow.client.to_string(),
            vip: flow.vip.to_string(),
            server: flow.server.to_string(),
            source: other(flow.source),
            vm: self.names.vm(flow).unwrap_or_default().to_owned(),
            load_balancer: self.names.load_balancer(flow).map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl From<&Carried> for CarriedTold {
    fn from(carried: &Carried) -> Self {
        Self {
            duration_seconds: carried.duration.as_secs_f64(),
            forward_packets: carried.forward_packets,
            forward_bytes: carried.forward_bytes,
            reply_packets: carried.reply_packets,
            reply_bytes: carried.reply_bytes,
        }
    }
}
