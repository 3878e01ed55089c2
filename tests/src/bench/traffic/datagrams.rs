//! Datagrams of many flows: what one costs the whole machine, and whether it arrives.

use std::net::{SocketAddr, UdpSocket};
use std::slice;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lb_common::bench::SINK_PORT;

use super::live::{Run, Traffic};
use super::road::{CLIENT, SERVERS};
use super::subject::{DEFAULT_ENTRIES, Lane, Service, Subject};
use crate::bench::Effort;
use crate::bench::report::{Bound, Report, Rig, Unit, paired, quantile};
use crate::lab::client::connection::pattern;
use crate::lab::wait;

const SUBJECTS: [Subject; 5] =
    [Subject::Redirect, Subject::Routing, Subject::Dnat, Subject::Masquerade, Subject::LbXdp];

/// How many flows take turns.
struct Path {
    name: &'static str,
    flows: u32,
    /// Of the agent's flow table.
    entries: u32,
    /// How many times as much nftables has to cost, with masquerading.
    budget: f64,
}

const PATHS: [Path; 3] = [
    Path { name: "UDP, 1k flows", flows: 1 << 10, entries: DEFAULT_ENTRIES, budget: 5.0 },
    // A quarter of the table, as is recommended.
    Path { name: "UDP, 128k flows", flows: 1 << 17, entries: 1 << 20, budget: 4.5 },
    // Not one of them comes again.
    Path { name: "UDP, every packet a new flow", flows: 1 << 25, entries: DEFAULT_ENTRIES, budget: 70.0 },
];

/// Measures the paths whose names contain this.
pub(super) fn run(report: &mut Report, effort: Effort, name: &str) -> Result<()> {
    for path in PATHS.iter().filter(|path| path.name.contains(name)) {
        eprintln!("  {}", path.name);
        // For each path anew: tables are of their path's size, and hold its flows alone.
        let open = |subject| Lane::open(subject, path.entries);
        let lanes: Vec<Lane> = SUBJECTS.into_iter().map(open).collect::<Result<_>>()?;
        for lane in &lanes {
            converse(lane).with_context(|| lane.subject.to_string())?;
        }
        let runs = measure(&mut Traffic::over(&lanes)?, &lanes, path, effort)?;
        note(report, path, &lanes, &runs);
        if effort == Effort::Full {
            judge(report, path);
        }
    }
    Ok(())
}

/// Flows whose packets are counted, one at a time.
const COUNTED: u32 = 1 << 10;

/// What all of a packet's way takes by a thread's clock, and by whom. Which clock that is, its caller knows.
///
/// # Errors
/// When somebody carries packets wrongly, or something can't be set up.
pub fn whole_way(mut tell: impl FnMut(String, f64) -> Result<()>) -> Result<()> {
    for subject in SUBJECTS.into_iter().chain([Subject::Flowtable, Subject::Ipvs, Subject::LbTc]) {
        let lane = Lane::open(subject, DEFAULT_ENTRIES)?;
        converse(&lane).with_context(|| subject.to_string())?;
        let mut traffic = Traffic::over(slice::from_ref(&lane))?;
        traffic.send(&lane, COUNTED, 2 * COUNTED)?;
        let run = traffic.send(&lane, COUNTED, 16 * COUNTED)?;
        ensure!(run.arrived == run.sent, "{subject}: {} of {} packets arrived", run.arrived, run.sent);
        tell(subject.to_string(), run.spent.as_nanos() as f64 / run.sent as f64)?;
    }
    Ok(())
}

impl Path {
    fn is_ever_new(&self) -> bool {
        self.flows > PORTS
    }
}

/// The runs of each lane.
fn measure(traffic: &mut Traffic, lanes: &[Lane], path: &Path, effort: Effort) -> Result<Vec<Vec<Run>>> {
    // What is measured is neither the first packets of flows that go on, nor tables that fill.
    if path.is_ever_new() {
        occupy(traffic, lanes, path, effort)?;
    } else {
        establish(traffic, lanes, path, effort)?;
    }
    let mut runs = vec![Vec::new(); lanes.len()];
    for _ in 0..effort.of(5, 1) {
        for (lane, runs) in lanes.iter().zip(&mut runs) {
            let is_slow = path.is_ever_new() && lane.subject.tracks();
            let packets = effort.of(if is_slow { 1 << 16 } else { 1 << 19 }, 1 << 14);
            if path.is_ever_new() {
                // While others had their turn, conntrack has forgotten flows, and ports are free that are not when nobody rests.
                traffic.send(lane, path.flows, packets)?;
            }
            runs.push(traffic.send(lane, path.flows, packets)?);
        }
    }
    Ok(runs)
}

/// Establishes all flows.
fn establish(traffic: &mut Traffic, lanes: &[Lane], path: &Path, effort: Effort) -> Result<()> {
    traffic.answer(true)?;
    for lane in lanes {
        for _ in 0..DIALOGUE {
            traffic.send(lane, path.flows, effort.of(path.flows, 1 << 12))?;
        }
    }
    traffic.answer(false)
}

/// So often a client speaks, and is answered, before a flow counts as established; and once more, for loss.
const DIALOGUE: usize = 3;

/// Begins as many flows as there are ports to masquerade behind, evenly over the time for which conntrack keeps them: all
/// ports are in use then, and as many come free in each second as in any other. Begun all at once, they would come free all
/// at once half a minute later, and what a packet costs would hang on when it is sent.
fn occupy(traffic: &mut Traffic, lanes: &[Lane], path: &Path, effort: Effort) -> Result<()> {
    let started = Instant::now();
    for second in 1..=effort.of(KEPT, 1) {
        for lane in lanes {
            traffic.send(lane, path.flows, PORTS / KEPT)?;
        }
        let next = started + Duration::from_secs(second.into());
        sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// What a masquerading node has for all of the servers: those above 1023, for each.
const PORTS: u32 = 64_512 * SERVERS.len() as u32;

/// Seconds for which conntrack keeps a flow of datagrams that nobody has answered.
const KEPT: u32 = 30;

fn note(report: &mut Report, path: &Path, lanes: &[Lane], runs: &[Vec<Run>]) {
    for (lane, runs) in lanes.iter().zip(runs) {
        let name = lane.subject.to_string();
        let mut add = |unit, sample: fn(&Run) -> f64| {
            report.add(Rig::B, path.name, &name, unit, runs.iter().map(sample).collect());
        };
        add(Unit::Nanoseconds, |run| run.spent.as_nanos() as f64 / run.sent as f64);
        add(Unit::MillionPackets, |run| run.arrived as f64 / run.took.as_secs_f64() / 1e6);
        add(Unit::Percent, |run| 100.0 * (1.0 - run.arrived as f64 / run.sent as f64));
    }
}

fn judge(report: &mut Report, path: &Path) {
    let samples = |subject: Subject, unit| {
        let figure = report.figures.iter().find(|figure| {
            figure.path == path.name && figure.subject == subject.to_string() && figure.unit == unit
        });
        figure.map_or(&[][..], |figure| &figure.samples)
    };
    let cost = |subject| samples(subject, Unit::Nanoseconds);
    let ratio = paired(cost(Subject::Masquerade), cost(Subject::LbXdp));
    let loss = quantile(samples(Subject::LbXdp, Unit::Percent), 1.0);
    let claim = format!("{}: nft DNAT+masquerade costs more", path.name);
    report.check(Rig::B, &claim, (ratio, Unit::Ratio), Bound::AtLeast(path.budget));
    report.check(Rig::B, &format!("{}: loss", path.name), (loss, Unit::Percent), Bound::AtMost(0.0));
}

/// Real sockets exchange a datagram before anything is measured: it is right in both directions.
fn converse(lane: &Lane) -> Result<()> {
    let (road, target) = (&lane.road, lane.target(Service::Datagrams));
    let open = |address: SocketAddr| {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        std::io::Result::Ok(socket)
    };
    let servers: Vec<UdpSocket> = road
        .servers
        .enter(|| SERVERS.iter().map(|server| open((*server, SINK_PORT).into())).collect::<Result<_, _>>())?
        .context("bind the servers")?;
    let client = road.client.enter(|| open((CLIENT, 0).into()))?.context("bind the client")?;
    let (payload, mut buffer) = (pattern(1000), [0; 2000]);
    let (mut seen, mut answered) = (None, None);
    wait::until("a datagram is answered", Duration::from_secs(30), || {
        // Until neighbours are resolved there may be loss.
        drop(client.send_to(&payload, target));
        for server in &servers {
            if let Ok((length, from)) = server.recv_from(&mut buffer) {
                seen = Some((buffer[..length].to_vec(), from));
                drop(server.send_to(&buffer[..length], from));
            }
        }
        if let Ok((length, from)) = client.recv_from(&mut buffer) {
            answered = Some((buffer[..length].to_vec(), from));
        }
        answered.is_some()
    })?;
    let ((sent, from), (back, by)) = seen.zip(answered).context("a datagram that was answered")?;
    ensure!(sent == payload && back == payload, "a datagram has changed on its way");
    ensure!(by == target.into(), "{target} was asked, {by} has answered");
    ensure!(!lane.preserves() || from.ip() == CLIENT, "the server was asked by {from}, not by {CLIENT}");
    Ok(())
}
