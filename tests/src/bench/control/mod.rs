//! The control plane at scale: a thousand load balancers of a hundred backends, ten thousand of them probed, a
//! hundred changes a second.
//!
//! The agent runs in a network namespace over real maps, its VMs' addresses in another one behind a router. What it
//! does is read from the maps and from its log; it is not asked.

mod changes;
mod floor;
mod log;
mod maps;
mod restart;
mod scene;
mod servers;
mod size;
mod usage;
mod watch;

use std::collections::HashSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lb_common::backend::{ACTIVE, BackendValue};

use self::changes::Changes;
use self::log::Tail;
use self::maps::Maps;
use self::scene::{Inventory, Scene};
use self::servers::{Fickle, Probes};
use self::size::Size;
use self::watch::{Kind, Seen};
use super::Effort;
use super::report::{Bound, Report, Rig, Unit, quantile};
use crate::lab::agent::Agent;
use crate::lab::wait;

/// The agent, in the tables.
const SUBJECT: &str = "lb";
/// Lets the agent's log tell of comparisons, too.
const LOG: [&str; 2] = ["--log", "info,lb_userspace::control::task=debug"];
/// How long anything may take before this gives up.
const DEADLINE: Duration = Duration::from_secs(180);

/// Measures the control plane.
///
/// # Errors
/// When something is missing, or the agent does not do what it is told.
pub fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let size = Size::of(effort);
    let scene = Scene::create(size)?;
    let probes = Probes::answer(&scene.vms)?;
    let mut inventory = Inventory::new(&size);
    let addresses: Vec<_> =
        (0..size.vms()).filter(|vm| size.is_fickle(*vm)).map(|vm| inventory.address(vm)).collect();
    let mut fickle = Fickle::answer(&scene.vms, &addresses)?;
    inventory.write(&scene.installation)?;
    let agent = scene.installation.start_with(&LOG)?;
    let maps = Maps::open(&scene.installation.pins)?;
    let mut figures = Figures { report, effort };

    create(&scene, &maps, &mut figures)?;
    undisturbed(&scene, &agent, &probes, &mut figures)?;
    let agent = restart::run(&scene, &maps, agent, &mut figures)?;
    disturbed(&scene, &agent, &maps, (&mut inventory, &mut fickle), &mut figures)?;
    agent.stop()
}

/// Where figures go. Times have bounds where all is measured.
struct Figures<'a> {
    report: &'a mut Report,
    effort: Effort,
}

impl Figures<'_> {
    fn add(&mut self, path: &str, unit: Unit, samples: Vec<f64>) {
        self.report.add(Rig::Control, path, SUBJECT, unit, samples);
    }

    fn check(&mut self, claim: &str, value: f64, unit: Unit, greatest: f64) {
        if self.effort == Effort::Full {
            self.report.check(Rig::Control, claim, (value, unit), Bound::AtMost(greatest));
        }
    }
}

/// Applies all load balancers in one go.
fn create(scene: &Scene, maps: &Maps, figures: &mut Figures<'_>) -> Result<()> {
    let Size { slots, max_backends, .. } = scene.size;
    eprintln!(
        "  {} load balancers × {} backends, {} probed every {:?}; maxListeners 4096, maxBackends {max_backends}, \
         maglevSlots {slots}",
        scene.size.load_balancers(),
        scene.size.members,
        scene.size.vms(),
        scene.size.period,
    );
    let manifest = scene.write_manifest()?;
    let started = Instant::now();
    scene.installation.lb(&["apply", "-f", &manifest])?;
    let answered = started.elapsed();
    let all = || {
        let backends = maps.backends();
        let active = backends.iter().filter(|backend| backend.state == ACTIVE).count();
        active == scene.size.backends() as usize && tables(scene, maps, &backends).is_ok()
    };
    wait::until("all load balancers are served", DEADLINE, all)?;
    figures.add("all load balancers: applied", Unit::Milliseconds, vec![milliseconds(answered)]);
    figures.add(
        "all load balancers: served, probes included",
        Unit::Milliseconds,
        vec![milliseconds(started.elapsed())],
    );
    Ok(())
}

/// All tables: whole, and each of the backends that it should have.
fn tables(scene: &Scene, maps: &Maps, backends: &[BackendValue]) -> Result<Vec<Vec<u32>>> {
    let listeners: HashSet<u32> =
        backends.iter().filter(|backend| backend.state == ACTIVE).map(|backend| backend.listener).collect();
    ensure!(listeners.len() == scene.size.load_balancers() as usize, "{} listeners", listeners.len());
    let mut listeners: Vec<u32> = listeners.into_iter().collect();
    listeners.sort_unstable();
    let table = |listener: &u32| {
        let table = maps.table(*listener)?;
        ensure!(table.len() == scene.size.slots as usize, "table {listener} has {} slots", table.len());
        let members: HashSet<u32> = table.iter().copied().collect();
        ensure!(
            members.len() == scene.size.members as usize,
            "table {listener} has {} members",
            members.len()
        );
        Ok(table)
    };
    listeners.iter().map(table).collect()
}

/// Lets it probe.
fn undisturbed(scene: &Scene, agent: &Agent, probes: &Probes, figures: &mut Figures<'_>) -> Result<()> {
    // Each has been probed once before intervals are taken.
    sleep(scene.size.period);
    drop(probes.take_intervals());
    let (started, used) = (Instant::now(), usage::processor_seconds(agent.id())?);
    sleep(scene.size.window);
    let share = (usage::processor_seconds(agent.id())? - used) / started.elapsed().as_secs_f64() * 100.0;
    let intervals = probes.take_intervals();
    let steady = scene.size.vms() - scene.size.fickle * scene.size.members;
    let rounds = scene.size.window.as_secs_f64() / scene.size.period.as_secs_f64();
    let least = (rounds - 1.0) * f64::from(steady);
    ensure!(intervals.len() as f64 >= least, "{} probes, where {least} are due", intervals.len());

    let late = |interval: &Duration| milliseconds(interval.saturating_sub(scene.size.period));
    let late: Vec<f64> = intervals.iter().map(late).collect();
    let tenth = milliseconds(scene.size.period) / 10.0;
    let too_late = late.iter().filter(|late| **late > tenth).count() as f64 / late.len() as f64 * 100.0;
    spread(figures, "a probe after its time", &late);
    figures.check("probes late by a tenth of their period", too_late, Unit::Percent, 0.0);
    figures.add("processor, of one: probing", Unit::Percent, vec![share]);
    figures.check("processor, of one: probing", share, Unit::Percent, 100.0);
    Ok(())
}

/// Changes things.
fn disturbed(
    scene: &Scene,
    agent: &Agent,
    maps: &Maps,
    (inventory, fickle): (&mut Inventory, &mut Fickle),
    figures: &mut Figures<'_>,
) -> Result<()> {
    figures.add(
        &format!("{}: filling their tables alone", Kind::Burst.name(&scene.size)),
        Unit::Milliseconds,
        floor::fill(&scene.size),
    );
    let (started, used) = (Instant::now(), usage::processor_seconds(agent.id())?);
    let Changes { seen: Seen { latencies, readings }, answers, elapsed } =
        changes::run(scene, maps, inventory, fickle)?;
    let share = (usage::processor_seconds(agent.id())? - used) / started.elapsed().as_secs_f64() * 100.0;
    let memory = usage::memory(agent.id())?;
    let counts = latencies.iter().map(Vec::len);
    let rate = counts.sum::<usize>() as f64 / elapsed.as_secs_f64();
    figures.add("changes", Unit::PerSecond, vec![rate]);
    figures.add("files of VMs", Unit::PerSecond, vec![readings.len() as f64 / elapsed.as_secs_f64()]);
    for (kind, latencies) in Kind::ALL.into_iter().zip(&latencies) {
        let name = kind.name(&scene.size);
        ensure!(!latencies.is_empty(), "no change of {name} was seen");
        spread(figures, &format!("until the maps say so: {name}"), latencies);
        if !matches!(kind, Kind::Burst) {
            let claim = format!("until the maps say so, 95 of 100: {name}");
            figures.check(&claim, quantile(latencies, 0.95), Unit::Milliseconds, 10.0);
        }
    }
    spread(figures, "until a file of VMs has been read", &readings);
    spread(figures, "answer to a change through the API", &answers);
    figures.add("processor, of one: probing and changing", Unit::Percent, vec![share]);
    figures.check("processor, of one: probing and changing", share, Unit::Percent, 100.0);
    figures.add("agent's memory", Unit::Mebibytes, vec![memory.own]);
    figures.add("flow tables, mapped by the agent", Unit::Mebibytes, vec![memory.tables]);
    figures.check("agent's memory", memory.own, Unit::Mebibytes, 200.0);
    let compared: Vec<f64> = comparisons(scene).context("read the agent's log")?;
    if let Some(longest) = compared.iter().copied().reduce(f64::max) {
        figures.check("full comparison", longest, Unit::Milliseconds, 1000.0);
        figures.add("full comparison", Unit::Milliseconds, compared);
    }
    Ok(())
}

/// How long each full comparison took, by the agent's log.
fn comparisons(scene: &Scene) -> Result<Vec<f64>> {
    let lines = Tail::open(&scene.installation.directory)?.lines()?;
    let compared = lines.iter().filter(|line| line.says("compared whole"));
    Ok(compared.filter_map(|line| line.field("milliseconds")?.parse().ok()).collect())
}

/// The middle, the 99th of a hundred, and the greatest, in rows of their own.
fn spread(figures: &mut Figures<'_>, path: &str, samples: &[f64]) {
    for (name, fraction) in [("median", 0.5), ("99 of 100", 0.99), ("all", 1.0)] {
        figures.add(&format!("{path}, {name}"), Unit::Milliseconds, vec![quantile(samples, fraction)]);
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
