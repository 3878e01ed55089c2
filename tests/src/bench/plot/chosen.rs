//! Which figures become bars.

use super::ABOVE_FLOOR;
use super::bars::{Bar, Bars, Group};
use crate::bench::report::{Figure, Report, Rig, Unit};

/// A picture of bars.
pub(super) struct Chosen {
    /// Its file's, without an ending.
    pub(super) name: &'static str,
    title: &'static str,
    note: &'static str,
    is_logarithmic: bool,
    rig: Rig,
    unit: Unit,
    /// A group for each path, and what it is called.
    paths: &'static [(&'static str, &'static str)],
}

/// What ends the names of subjects on the kernel that rig C's pictures are of.
const COUNTED_ON: &str = ", 6.12";

/// Paths that begin so are of one group, and named after who carries the packet.
const WHOLE_WAY: &str = "whole way, ";

/// All.
pub(super) const ALL: &[Chosen] = &[
    Chosen::new("cost-of-other-paths", "Other paths of the program", ABOVE_FLOOR).of(
        (Rig::A, Unit::Nanoseconds),
        &[
            ("SYN, every packet a new flow", "SYN, every packet a new flow"),
            ("UDP, every packet a new flow", "UDP, every packet a new flow"),
            ("TCP to no VIP", "TCP to no VIP"),
            ("ARP for no VIP", "ARP for no VIP"),
        ],
    ),
    Chosen::new(
        "datagrams-cpu",
        "Datagrams across the node: processor time",
        "ns a datagram, all processors, logarithmic; less is better",
    )
    .logarithmic()
    .of((Rig::B, Unit::Nanoseconds), DATAGRAMS),
    Chosen::new(
        "datagrams-rate",
        "Datagrams across the node: rate on one processor",
        "million datagrams a second, logarithmic; more is better",
    )
    .logarithmic()
    .of((Rig::B, Unit::MillionPackets), DATAGRAMS),
    Chosen::new("connections-rate", "Connections: dial, ask, close", "connections a second; more is better")
        .of((Rig::B, Unit::PerSecond), &[("TCP: connect, ask, close", "")]),
    Chosen::new(
        "requests-rate",
        "Questions and answers over connections that last",
        "answers a second; more is better",
    )
    .of((Rig::B, Unit::PerSecond), &[("TCP: questions and answers", "")]),
    Chosen::new("requests-latency", "Latency of questions and answers", "µs; less is better").of(
        (Rig::B, Unit::Microseconds),
        &[("TCP: questions and answers: p50", "p50"), ("TCP: questions and answers: p99", "p99")],
    ),
    Chosen::new("bulk", "One connection's bulk", "Gb/s; more is better").of(
        (Rig::B, Unit::Gigabits),
        &[("TCP bulk, offloads", "offloads on"), ("TCP bulk, no offloads", "offloads off")],
    ),
    Chosen::new(
        "instructions",
        "Instructions of the program, above the floor",
        "instructions a packet on Linux 6.12, logarithmic; less is better",
    )
    .logarithmic()
    .of((Rig::C, Unit::Instructions), COUNTED),
    Chosen::new(
        "instructions-whole-way",
        "Instructions of a packet's whole way over a node",
        "instructions a packet on Linux 6.12; less is better",
    )
    .of((Rig::C, Unit::Instructions), &[(WHOLE_WAY, "")]),
];

const DATAGRAMS: &[(&str, &str)] = &[
    ("UDP, 1k flows", "1k flows"),
    ("UDP, 128k flows", "128k flows"),
    ("UDP, every packet a new flow", "every packet a new flow"),
];

const COUNTED: &[(&str, &str)] = &[
    ("TCP established, 1k flows", "TCP, established"),
    ("TCP answers, 1k flows", "TCP, answers"),
    ("UDP established, 1k flows", "UDP, established"),
    ("UDP answers, 1k flows", "UDP, answers"),
    ("SYN, every packet a new flow", "SYN, every packet a new flow"),
    ("TCP to no VIP", "TCP to no VIP"),
    ("tc, TCP established, 1k flows", "tc: TCP, established"),
    ("IPv6, TCP established, 1k flows", "IPv6: TCP, established"),
];

impl Chosen {
    const fn new(name: &'static str, title: &'static str, note: &'static str) -> Self {
        let (rig, unit) = (Rig::A, Unit::Nanoseconds);
        Self { name, title, note, is_logarithmic: false, rig, unit, paths: &[] }
    }

    const fn logarithmic(self) -> Self {
        Self { is_logarithmic: true, ..self }
    }

    const fn of(self, (rig, unit): (Rig, Unit), paths: &'static [(&'static str, &'static str)]) -> Self {
        Self { rig, unit, paths, ..self }
    }

    /// With what was measured of it; without groups if that is nothing.
    pub(super) fn bars(&self, report: &Report) -> Bars {
        let groups = self.paths.iter().map(|&(path, label)| self.group(report, path, label));
        let groups = groups.filter(|group| !group.bars.is_empty()).collect();
        Bars { title: self.title, note: self.note, is_logarithmic: self.is_logarithmic, groups }
    }

    fn group(&self, report: &Report, path: &str, label: &str) -> Group {
        let ending = if self.rig == Rig::C { COUNTED_ON } else { "" };
        let here = report.figures.iter().filter(|one| (one.rig, one.unit) == (self.rig, self.unit));
        let bar = |one: &Figure| {
            let subject = one.subject.strip_suffix(ending)?;
            let carrier = one.path.strip_prefix(WHOLE_WAY).filter(|_| path == WHOLE_WAY);
            let label = carrier.or((one.path == path).then_some(subject))?;
            Some(Bar::of(label, one))
        };
        Group { label: label.to_owned(), bars: here.filter_map(bar).collect() }
    }
}
