//! Pictures of a run. What was not measured is not drawn.

mod bars;
mod canvas;
mod chosen;
mod curves;
mod scale;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::report::{Report, Rig};
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
    for chosen in chosen::ALL {
        let bars = chosen.bars(report);
        if !bars.groups.is_empty() {
            keep(chosen.name, bars.title, bars.draw()?)?;
        }
    }
    Ok(pictures)
}

const ABOVE_FLOOR: &str = "ns a packet above the floor, median and quartiles; less is better";

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

#[cfg(test)]
mod tests {
    use std::env;
    use std::process;

    use super::*;
    use crate::bench::report::{Bound, Unit};

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
