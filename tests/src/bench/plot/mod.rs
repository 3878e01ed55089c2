//! Pictures of a run. What was not measured is not drawn.

mod bars;
mod canvas;
mod curves;
mod scale;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::report::{Figure, Report, Rig, Unit};
use bars::{Bar, Bars, Group};
use curves::{Curve, Curves, Point};

/// A picture that was drawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Its file, in the directory that was asked for.
    pub file: String,
    /// What it shows.
    pub title: String,
}

/// Draws all pictures that there are figures for, as SVG, into a directory, which is made if there is none.
///
/// # Errors
/// When a file can't be written.
pub fn draw(report: &Report, directory: &Path) -> Result<Vec<Picture>> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let mut pictures = Vec::new();
    let mut keep = |name: &str, title: &str, text: String| {
        let file = format!("{name}.svg");
        let path = directory.join(&file);
        pictures.push(Picture { file, title: title.to_owned() });
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    let curves = cost_of_flows(report);
    if !curves.all.is_empty() {
        keep("cost-of-flows", curves.title, curves.draw()?)?;
    }
    for (name, bars) in all_bars(report) {
        if !bars.groups.is_empty() {
            keep(name, bars.title, bars.draw()?)?;
        }
    }
    Ok(pictures)
}

/// The kernel that rig C's pictures are of.
const COUNTED_ON: &str = ", 6.12";

const ABOVE_FLOOR: &str = "ns a packet above the floor, median and quartiles; less is better";
const COUNTED: &str = "instructions a packet on Linux 6.12, logarithmic; less is better";
const COUNTED_WHOLE: &str = "instructions a packet on Linux 6.12; less is better";

fn cost_of_flows(report: &Report) -> Curves {
    let wanted = [
        ("TCP established", "lb", "lb"),
        ("TCP answers", "lb", "lb, answers"),
        ("TCP established", "one-way DNAT, LRU hash", "one-way DNAT,\nLRU hash"),
    ];
    let curves = wanted.into_iter().map(|(path, subject, label)| {
        let figures = report.figures.iter().filter(|one| one.rig == Rig::A && one.subject == subject);
        let points = figures.filter_map(|one| Some(Point::of(flows(&one.path, path)?, one)));
        Curve { label: label.to_owned(), points: points.collect() }
    });
    let checks = report.checks.iter().filter(|check| check.rig == Rig::A);
    Curves {
        title: "Established TCP: what a packet costs among how many flows",
        note: ABOVE_FLOOR,
        all: curves.filter(|curve| curve.points.len() > 1).collect(),
        budget: checks
            .filter_map(|check| Some((flows(&check.claim, "TCP established")?, check.limit())))
            .collect(),
    }
}

/// How many flows there are on a path that is named `kind, 16k flows`.
fn flows(path: &str, kind: &str) -> Option<f64> {
    let (number, _) = path
        .strip_prefix(kind)?
        .strip_prefix(", ")?
        .split_once(" flow")
        .filter(|(_, rest)| rest.len() < 2)?;
    let (digits, unit) = match number.as_bytes().last()? {
        b'k' => (&number[..number.len() - 1], 1_024.0),
        b'M' => (&number[..number.len() - 1], 1_048_576.0),
        _ => (number, 1.0),
    };
    digits.parse::<f64>().ok().map(|digits| digits * unit)
}

fn all_bars(report: &Report) -> [(&'static str, Bars); 9] {
    let other_paths = [
        ("SYN, every packet a new flow", "SYN, every packet a new flow"),
        ("UDP, every packet a new flow", "UDP, every packet a new flow"),
        ("TCP to no VIP", "TCP to no VIP"),
        ("ARP for no VIP", "ARP for no VIP"),
    ];
    let datagrams = [
        ("UDP, 1k flows", "1k flows"),
        ("UDP, 128k flows", "128k flows"),
        ("UDP, every packet a new flow", "every packet a new flow"),
    ];
    let counted = [
        ("TCP established, 1k flows", "TCP, established"),
        ("TCP answers, 1k flows", "TCP, answers"),
        ("UDP established, 1k flows", "UDP, established"),
        ("UDP answers, 1k flows", "UDP, answers"),
        ("SYN, every packet a new flow", "SYN, every packet a new flow"),
        ("TCP to no VIP", "TCP to no VIP"),
        ("tc, TCP established, 1k flows", "tc: TCP, established"),
        ("IPv6, TCP established, 1k flows", "IPv6: TCP, established"),
    ];
    let anew = "TCP: connect, ask, close";
    let latency = [("TCP: questions and answers: p50", "p50"), ("TCP: questions and answers: p99", "p99")];
    let bulk = [("TCP bulk, offloads", "offloads on"), ("TCP bulk, no offloads", "offloads off")];
    let b = |unit, paths: &[(&str, &str)]| groups(report, (Rig::B, unit, ""), paths);
    let bars = |title, note, groups| Bars { title, note, is_logarithmic: false, groups };
    let logarithmic = |title, note, groups| Bars { title, note, is_logarithmic: true, groups };
    [
        (
            "cost-of-other-paths",
            bars(
                "Other paths of the program",
                ABOVE_FLOOR,
                groups(report, (Rig::A, Unit::Nanoseconds, ""), &other_paths),
            ),
        ),
        (
            "datagrams-cpu",
            logarithmic(
                "Datagrams across the node: processor time",
                "ns a datagram, all processors, logarithmic; less is better",
                b(Unit::Nanoseconds, &datagrams),
            ),
        ),
        (
            "datagrams-rate",
            logarithmic(
                "Datagrams across the node: rate on one processor",
                "million datagrams a second, logarithmic; more is better",
                b(Unit::MillionPackets, &datagrams),
            ),
        ),
        (
            "connections-rate",
            bars(
                "Connections: dial, ask, close",
                "connections a second; more is better",
                b(Unit::PerSecond, &[(anew, "")]),
            ),
        ),
        (
            "requests-rate",
            bars(
                "Questions and answers over connections that last",
                "answers a second; more is better",
                b(Unit::PerSecond, &[("TCP: questions and answers", "")]),
            ),
        ),
        (
            "requests-latency",
            bars("Latency of questions and answers", "µs; less is better", b(Unit::Microseconds, &latency)),
        ),
        ("bulk", bars("One connection's bulk", "Gb/s; more is better", b(Unit::Gigabits, &bulk))),
        (
            "instructions",
            logarithmic(
                "Instructions of the program, above the floor",
                COUNTED,
                groups(report, (Rig::C, Unit::Instructions, COUNTED_ON), &counted),
            ),
        ),
        (
            "instructions-whole-way",
            bars("Instructions of a packet's whole way over a node", COUNTED_WHOLE, whole_way(report)),
        ),
    ]
}

/// A group of bars for each of the paths that somebody was measured on: one for each subject whose name ends so.
fn groups(report: &Report, (rig, unit, ending): (Rig, Unit, &str), paths: &[(&str, &str)]) -> Vec<Group> {
    let group = |&(path, label): &(&str, &str)| {
        let here = report.figures.iter().filter(|one| (one.rig, one.unit) == (rig, unit) && one.path == path);
        let bars = here.filter_map(|one| Some(bar(one.subject.strip_suffix(ending)?, one)));
        Group { label: label.to_owned(), bars: bars.collect() }
    };
    paths.iter().map(group).filter(|group| !group.bars.is_empty()).collect()
}

/// Whole ways are paths of their own, named after who carries the packet.
fn whole_way(report: &Report) -> Vec<Group> {
    let here = report.figures.iter().filter(|one| one.rig == Rig::C && one.subject.ends_with(COUNTED_ON));
    let bars: Vec<Bar> =
        here.filter_map(|one| Some(bar(one.path.strip_prefix("whole way, ")?, one))).collect();
    if bars.is_empty() { Vec::new() } else { vec![Group { label: String::new(), bars }] }
}

fn bar(label: &str, figure: &Figure) -> Bar {
    let (lower, median, upper) = (figure.lower(), figure.median(), figure.upper());
    Bar { label: label.to_owned(), lower, median, upper, is_ours: label.starts_with("lb") }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process;

    use super::*;
    use crate::bench::report::Bound;

    #[test]
    fn numbers_of_flows_are_read_from_the_names_of_paths() {
        let read = |path| flows(path, "TCP established");
        assert_eq!(read("TCP established, 1 flow"), Some(1.0));
        assert_eq!(read("TCP established, 16k flows"), Some(16_384.0));
        assert_eq!(read("TCP established, 1M flows"), Some(1_048_576.0));
        assert_eq!(read("TCP established, 1k flows, 1514 B"), None);
        assert_eq!(read("UDP established, 1 flow"), None);
    }

    #[test]
    fn what_was_measured_is_drawn_and_nothing_else() {
        let mut report = Report::new();
        for path in ["TCP established, 1 flow", "TCP established, 1M flows"] {
            report.add(Rig::A, path, "lb", Unit::Nanoseconds, vec![20.0, 22.0, 21.0]);
        }
        let budget = Bound::AtMost(30.0);
        report.check(Rig::A, "TCP established, 1M flows", (21.0, Unit::Nanoseconds), budget);
        report.add(Rig::B, "UDP, 1k flows", "nft <DNAT>", Unit::Nanoseconds, vec![700.0]);
        report.add(Rig::C, "whole way, lb (XDP)", "gross, 6.12", Unit::Instructions, vec![2000.0]);
        report.add(Rig::C, "whole way, lb (XDP)", "gross, 6.1", Unit::Instructions, vec![4000.0]);

        let directory = env::temp_dir().join(format!("lb-pictures-{}", process::id()));
        let pictures = draw(&report, &directory).expect("pictures");
        let files: Vec<&str> = pictures.iter().map(|picture| picture.file.as_str()).collect();
        let read = |file: &str| fs::read_to_string(directory.join(file)).expect("a picture");
        let (datagrams, whole_way) = (read("datagrams-cpu.svg"), read("instructions-whole-way.svg"));
        fs::remove_dir_all(&directory).expect("remove the pictures");

        assert_eq!(files, ["cost-of-flows.svg", "datagrams-cpu.svg", "instructions-whole-way.svg"]);
        assert!(datagrams.contains("nft &lt;DNAT&gt;") && datagrams.contains("700"), "{datagrams}");
        assert!(whole_way.contains("2000") && !whole_way.contains("4000"), "{whole_way}");
    }
}
