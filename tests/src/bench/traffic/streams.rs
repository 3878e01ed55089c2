//! Connections of real clients to real servers: how many, how quick, how much they carry.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::subject::{DEFAULT_ENTRIES, Lane, Service, Subject};
use super::tools::Way;
use super::{spent, tools};
use crate::bench::Effort;
use crate::bench::report::{Bound, Report, Rig, Unit, paired, quantile};
use crate::lab::process::Process;
use crate::lab::server::http::Http;
use crate::lab::server::iperf;

const SUBJECTS: [Subject; 7] = [
    Subject::Redirect,
    Subject::Routing,
    Subject::Dnat,
    Subject::Masquerade,
    Subject::HaProxy,
    Subject::LbXdp,
    Subject::LbTc,
];

const CONNECTIONS: &str = "TCP: connect, ask, close";
const QUESTIONS: &str = "TCP: questions and answers";
const BULK_WHOLE: &str = "TCP bulk, no offloads";
const BULK: &str = "TCP bulk, offloads";

/// A lane and the servers at its end, which go first.
struct Course {
    http: Http,
    bulk: Process,
    lane: Lane,
}

impl Course {
    fn open(subject: Subject) -> Result<Self> {
        let lane = Lane::open(subject, DEFAULT_ENTRIES)?;
        let (servers, directory) = (&lane.road.servers, lane.road.id.directory());
        let http = Http::start_without_log(servers, "servers", &directory)?;
        let bulk = iperf::start(servers, "servers", &directory)?;
        Ok(Self { http, bulk, lane })
    }

    /// The processes that work for clients.
    fn processes(&self) -> Vec<u32> {
        [self.http.id(), self.bulk.id()].into_iter().chain(self.lane.process()).collect()
    }
}

/// Measures the paths whose names contain this.
pub(super) fn run(report: &mut Report, effort: Effort, name: &str) -> Result<()> {
    let quick = [CONNECTIONS, BULK];
    let all = [CONNECTIONS, QUESTIONS, BULK_WHOLE, BULK];
    let is_wanted = |path: &&str| path.contains(name) && (effort == Effort::Full || quick.contains(path));
    let paths: Vec<&'static str> = all.into_iter().filter(|path| is_wanted(path)).collect();
    if paths.is_empty() {
        return Ok(());
    }
    let courses: Vec<Course> = SUBJECTS.into_iter().map(Course::open).collect::<Result<_>>()?;
    for path in paths {
        eprintln!("  {path}");
        match path {
            BULK | BULK_WHOLE => stream(report, effort, &courses, path)?,
            _ => ask(report, effort, &courses, path)?,
        }
    }
    if effort == Effort::Full {
        judge(report);
    }
    Ok(())
}

/// Questions over connections of their own, or over a few that go on.
fn ask(report: &mut Report, effort: Effort, courses: &[Course], path: &'static str) -> Result<()> {
    let anew = path == CONNECTIONS;
    // What else runs takes a hundredth of some machines' time, a few milliseconds each half of a second: one in a
    // hundred of a second's questions is now within it, now not. Most of shorter rounds go by without it.
    let (connections, rounds, span) =
        if anew { (32, 9, Duration::from_secs(2)) } else { (8, 100, Duration::from_millis(150)) };
    let load = (connections, effort.of(span, Duration::from_secs(1)));
    let mut samples = vec![Vec::new(); courses.len()];
    let mut asked = vec![Asked::default(); courses.len()];
    for _ in 0..effort.of(rounds, 1) {
        for (course, (samples, asked)) in courses.iter().zip(samples.iter_mut().zip(&mut asked)) {
            let lane = &course.lane;
            let processes = course.processes();
            let before = spent::by_processes(&processes)?;
            let answers = tools::ask(&lane.road.client, lane.target(Service::Web), load, anew)
                .with_context(|| format!("{path}: {}", lane.subject))?;
            let spent = spent::by_processes(&processes)?.saturating_sub(before);
            let each = spent.as_secs_f64() * 1e6 / answers.count as f64;
            asked.answered += answers.count;
            asked.failed += answers.failed;
            samples.push([answers.rate, each, answers.p50, answers.p99]);
        }
    }
    for (course, (samples, asked)) in courses.iter().zip(samples.iter().zip(&asked)) {
        let name = course.lane.subject.to_string();
        report.noted.extend(asked.note(path, course.lane.subject)?);
        let column = |index: usize| samples.iter().filter_map(|sample| sample.get(index)).copied().collect();
        report.add(Rig::B, path, &name, Unit::PerSecond, column(0));
        report.add(Rig::B, &format!("{path}: CPU each"), &name, Unit::Microseconds, column(1));
        report.add(Rig::B, &format!("{path}: p50"), &name, Unit::Microseconds, column(2));
        report.add(Rig::B, &format!("{path}: p99"), &name, Unit::Microseconds, column(3));
    }
    Ok(())
}

/// What became of one subject's questions.
#[derive(Clone, Copy, Default)]
struct Asked {
    answered: u64,
    failed: u64,
}

impl Asked {
    /// What a reader has to know of them.
    ///
    /// # Errors
    /// When more have failed than may: of `lb` any, of others one of a thousand, which is their own affair.
    fn note(self, path: &str, subject: Subject) -> Result<Option<String>> {
        let all = self.answered + self.failed;
        let text = format!("{path}: {subject}: {} of {all} questions failed", self.failed);
        let most = if subject.is_lb() { 0 } else { all / 1000 };
        ensure!(self.failed <= most, "{text}, {most} may");
        Ok((self.failed > 0).then_some(text))
    }
}

/// One connection that carries as much as goes.
fn stream(report: &mut Report, effort: Effort, all: &[Course], path: &'static str) -> Result<()> {
    let offloads = path == BULK;
    // Redirected unseen, packets whose checksums are left to a card arrive without them.
    let sees = |course: &&Course| !(offloads && course.lane.subject == Subject::Redirect);
    let courses: Vec<&Course> = all.iter().filter(sees).collect();
    for course in &courses {
        course.lane.road.set_offloads(offloads)?;
    }
    let mut samples = vec![Vec::new(); courses.len()];
    for _ in 0..effort.of(5, 1) {
        for (course, samples) in courses.iter().zip(&mut samples) {
            let lane = &course.lane;
            let rate = tools::stream(&lane.road.client, lane.target(Service::Bulk), Way::Up, effort.of(2, 1));
            samples.push(rate.with_context(|| format!("{path}: {}", lane.subject))?);
        }
    }
    for (course, samples) in courses.iter().zip(samples) {
        report.add(Rig::B, path, &course.lane.subject.to_string(), Unit::Gigabits, samples);
    }
    Ok(())
}

fn judge(report: &mut Report) {
    for (path, one, other, bound) in [
        (CONNECTIONS, Subject::LbXdp, Subject::Masquerade, Bound::AtLeast(1.25)),
        (CONNECTIONS, Subject::LbXdp, Subject::Redirect, Bound::AtLeast(0.95)),
        (BULK, Subject::LbTc, Subject::Dnat, Bound::AtLeast(1.0)),
        (BULK, Subject::LbTc, Subject::Masquerade, Bound::AtLeast(1.0)),
    ] {
        let Some((above, below)) = both(report, path, one, other) else { continue };
        let ratio = paired(above, below);
        report.check(Rig::B, &format!("{path}: {one} by {other}"), (ratio, Unit::Ratio), bound);
    }
    let (path, one, other) = (format!("{QUESTIONS}: p99"), Subject::LbXdp, Subject::Redirect);
    // What else runs does not come by the round, so that two of the same one are no pair.
    let middles = |(above, below)| quantile(above, 0.5) / quantile(below, 0.5);
    if let Some(ratio) = both(report, &path, one, other).map(middles) {
        let claim = format!("{path}: {one} by {other}");
        report.check(Rig::B, &claim, (ratio, Unit::Ratio), Bound::AtMost(1.1));
    }
    report.noted.extend(ceiling(report));
}

/// What a node comes to against masquerading that only redirects: `lb` can't come to more.
fn ceiling(report: &Report) -> Option<String> {
    let (ceiling, other) = (Subject::Redirect, Subject::Masquerade);
    let (above, below) = both(report, CONNECTIONS, ceiling, other)?;
    let ratio = paired(above, below);
    Some(format!("{CONNECTIONS}: {ceiling}, which balances nothing, by {other}: {ratio:.2} ×"))
}

/// The samples of two subjects, if both were measured.
fn both<'a>(report: &'a Report, path: &str, one: Subject, other: Subject) -> Option<(&'a [f64], &'a [f64])> {
    let samples = |subject: Subject| report.figure(Rig::B, path, &subject.to_string()).map(|f| &*f.samples);
    samples(one).zip(samples(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_may_fail_once_in_a_thousand_and_is_named_and_lb_never() {
        let note = |subject, failed| Asked { answered: 23_508 - failed, failed }.note(CONNECTIONS, subject);
        for subject in SUBJECTS {
            assert_eq!(note(subject, 0).unwrap(), None);
            assert_eq!(note(subject, 23).is_ok(), !subject.is_lb(), "{subject}");
            assert!(note(subject, 24).is_err(), "{subject}");
        }
        let text = note(Subject::HaProxy, 1).unwrap().unwrap();
        assert_eq!(text, "TCP: connect, ask, close: HAProxy: 1 of 23508 questions failed");
        for subject in [Subject::LbXdp, Subject::LbTc] {
            assert!(note(subject, 1).is_err(), "{subject}");
        }
    }
}
