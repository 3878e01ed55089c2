//! The paths that are measured.

use super::scene::{Kind, Shot};
use crate::bench::Effort;
use crate::program::Hook;

/// What happens to many packets alike.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// In words.
    pub name: &'static str,
    /// Where the packets come in.
    pub hook: Hook,
    /// How many flows have their turn: a power of two.
    pub flows: u32,
    /// Buckets of the flow table.
    pub buckets: u32,
    kind: Kind,
    is_v6: bool,
    payload: usize,
    /// What each flow has to do with.
    before: &'static [Kind],
    /// What it may cost above the floor.
    pub budget: Option<Budget>,
}

/// Nanoseconds on the machine where the budget was made, whose clock is not that of others.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// These.
    pub nanoseconds: f64,
    /// A path of which the yardstick tells how quick a machine is with as many flows.
    pub beside: &'static str,
    /// What the yardstick took there on the machine of the budget.
    pub yardstick: f64,
}

const TCP_1K: (&str, f64) = ("TCP established, 1k flows", 43.0);
const TCP_128K: (&str, f64) = ("TCP established, 128k flows", 385.0);
const TCP_1M: (&str, f64) = ("TCP established, 1M flows", 447.0);
const UDP_1K: (&str, f64) = ("UDP established, 1k flows", 40.0);
const UDP_128K: (&str, f64) = ("UDP established, 128k flows", 387.0);
const NEW_TCP: (&str, f64) = ("SYN, every packet a new flow", 834.0);
const NEW_UDP: (&str, f64) = ("UDP, every packet a new flow", 799.0);
const NO_VIP: (&str, f64) = ("TCP to no VIP", 16.0);

/// So long that a frame has all headers of the generator.
const SHORT: usize = 38;
/// So long that a segment fills an Ethernet frame.
const LONG: usize = 1460;

const HANDSHAKE: &[Kind] = &[Kind::Syn, Kind::SynAck, Kind::Data];
const DIALOGUE: &[Kind] = &[Kind::Query, Kind::Response, Kind::Query];

/// An eighth of the entries is a flow's: both halves of it are a quarter of the table at the recommended load.
const RECOMMENDED: u32 = 2;
/// The table that the agent makes unless told otherwise.
const DEFAULT: u32 = 65_536;

impl Path {
    const fn new(name: &'static str, kind: Kind, flows: u32) -> Self {
        let recommended = flows * RECOMMENDED;
        let buckets = if recommended > DEFAULT { recommended } else { DEFAULT };
        let before = match kind {
            Kind::Data | Kind::Answer => HANDSHAKE,
            Kind::Query | Kind::Response => DIALOGUE,
            _ => &[],
        };
        Self {
            name,
            hook: Hook::Xdp,
            flows,
            buckets,
            kind,
            is_v6: false,
            payload: SHORT,
            before,
            budget: None,
        }
    }

    const fn budget(mut self, nanoseconds: f64, (beside, yardstick): (&'static str, f64)) -> Self {
        self.budget = Some(Budget { nanoseconds, beside, yardstick });
        self
    }

    const fn over_v6(self) -> Self {
        Self { is_v6: true, ..self }
    }

    const fn at(self, hook: Hook) -> Self {
        Self { hook, ..self }
    }

    const fn long(self) -> Self {
        Self { payload: LONG, ..self }
    }

    /// Every packet is the first of its flow, as far as any table can remember.
    const fn ever_new(self) -> Self {
        Self { before: &[], buckets: DEFAULT, ..self }
    }

    /// Instructions that it may take above the floor.
    pub fn instructions(&self) -> Option<f64> {
        match self.kind {
            Kind::Data | Kind::Answer | Kind::Query | Kind::Response if !self.is_ever_new() => Some(450.0),
            Kind::Elsewhere => Some(150.0),
            _ => None,
        }
    }

    /// Is every packet the first of its flow?
    pub fn is_ever_new(&self) -> bool {
        self.flows > MOST_REMEMBERED
    }

    /// Is it part of the quick run?
    pub(super) fn is_quick(&self) -> bool {
        self.flows <= 1024 && self.payload == SHORT || self.is_ever_new()
    }

    /// How many packets a round has.
    pub(super) fn packets(&self, effort: Effort) -> u32 {
        match effort {
            Effort::Quick => 20_000,
            Effort::Full => (self.flows * 2).clamp(400_000, 2_000_000),
        }
    }

    /// What is measured.
    pub(super) fn measured(&self) -> Shot {
        Shot { kind: self.kind, is_v6: self.is_v6, flows: self.flows, payload: self.payload }
    }

    /// What each flow has to do with before.
    pub(super) fn before(&self) -> impl Iterator<Item = Shot> {
        let (is_v6, flows, payload) = (self.is_v6, self.flows, SHORT);
        self.before.iter().map(move |&kind| Shot { kind, is_v6, flows, payload })
    }
}

/// Any table has forgotten a flow when it comes again after more than these.
const MOST_REMEMBERED: u32 = 1 << 20;

/// All.
pub const PATHS: &[Path] = &[
    Path::new("TCP established, 1 flow", Kind::Data, 1),
    Path::new("TCP established, 1k flows", Kind::Data, 1 << 10).budget(50.0, TCP_1K),
    Path::new("TCP established, 16k flows", Kind::Data, 1 << 14),
    Path::new("TCP established, 128k flows", Kind::Data, 1 << 17).budget(180.0, TCP_128K),
    Path::new("TCP established, 1M flows", Kind::Data, 1 << 20).budget(260.0, TCP_1M),
    Path::new("TCP established, 1k flows, 1514 B", Kind::Data, 1 << 10).long(),
    Path::new("TCP answers, 1 flow", Kind::Answer, 1),
    Path::new("TCP answers, 1k flows", Kind::Answer, 1 << 10).budget(50.0, TCP_1K),
    Path::new("TCP answers, 128k flows", Kind::Answer, 1 << 17).budget(180.0, TCP_128K),
    Path::new("UDP established, 1k flows", Kind::Query, 1 << 10).budget(50.0, UDP_1K),
    Path::new("UDP established, 128k flows", Kind::Query, 1 << 17).budget(180.0, UDP_128K),
    Path::new("UDP established, 1k flows, 1514 B", Kind::Query, 1 << 10).long(),
    Path::new("UDP answers, 1k flows", Kind::Response, 1 << 10).budget(50.0, UDP_1K),
    Path::new("SYN, every packet a new flow", Kind::Syn, 1 << 24).ever_new().budget(500.0, NEW_TCP),
    Path::new("UDP, every packet a new flow", Kind::Query, 1 << 24).ever_new().budget(500.0, NEW_UDP),
    Path::new("TCP to no VIP", Kind::Elsewhere, 1 << 10).budget(20.0, NO_VIP),
    Path::new("TCP SYN to no VIP", Kind::DialElsewhere, 1 << 10),
    Path::new("ARP for no VIP", Kind::Arp, 1).budget(3.0, NO_VIP),
    Path::new("neither IP nor ARP", Kind::Lldp, 1).budget(3.0, NO_VIP),
];

/// More, of which instructions tell as much as times: in IPv6, and in tc.
pub const MORE_PATHS: &[Path] = &[
    Path::new("IPv6, TCP established, 1k flows", Kind::Data, 1 << 10).over_v6(),
    Path::new("IPv6, TCP answers, 1k flows", Kind::Answer, 1 << 10).over_v6(),
    Path::new("IPv6, UDP established, 1k flows", Kind::Query, 1 << 10).over_v6(),
    Path::new("IPv6, SYN, every packet a new flow", Kind::Syn, 1 << 24).over_v6().ever_new(),
    Path::new("IPv6, TCP to no VIP", Kind::Elsewhere, 1 << 10).over_v6(),
    Path::new("tc, TCP established, 1k flows", Kind::Data, 1 << 10).at(Hook::TcIngress),
    Path::new("tc, TCP answers, 1k flows", Kind::Answer, 1 << 10).at(Hook::TcIngress),
    Path::new("tc, UDP established, 1k flows", Kind::Query, 1 << 10).at(Hook::TcIngress),
    Path::new("tc, TCP to no VIP", Kind::Elsewhere, 1 << 10).at(Hook::TcIngress),
    Path::new("tc egress, TCP to no VIP", Kind::Elsewhere, 1 << 10).at(Hook::TcEgress),
];
