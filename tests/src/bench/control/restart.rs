//! Restarts: they change nothing in the maps.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use lb_common::backend::BackendValue;

use super::log::{Moment, Tail};
use super::maps::Maps;
use super::scene::Scene;
use super::{DEADLINE, Figures, LOG, tables};
use crate::bench::report::{Unit, quantile};
use crate::lab::agent::Agent;
use crate::lab::wait;

/// How often it is restarted.
const RESTARTS: u32 = 3;

/// Kills it and starts it anew over what it left.
pub(super) fn run(scene: &Scene, maps: &Maps, mut agent: Agent, figures: &mut Figures<'_>) -> Result<Agent> {
    let before = maps.backends();
    let tables_before = tables(scene, maps, &before)?;
    let mut times = Vec::new();
    for _ in 0..RESTARTS {
        agent.kill()?;
        let mut log = Tail::open(&scene.installation.directory)?;
        log.lines()?;
        let started = Moment::now();
        agent = scene.installation.start_with(&LOG)?;
        let in_step = wait::until_some("the agent is in step", DEADLINE, || {
            log.lines().ok()?.into_iter().find(|line| line.says("in step with what is desired"))
        })?;
        times.push(in_step.at.milliseconds_since(started));
    }
    let after = maps.backends();
    let difference = difference(&before, &after);
    ensure!(difference.is_empty(), "a restart changed backends: {difference}");
    ensure!(tables(scene, maps, &after)? == tables_before, "a restart changed a table");
    figures.check(
        "restart over pinned maps, until they are compared",
        quantile(&times, 0.5),
        Unit::Milliseconds,
        1000.0,
    );
    figures.add("restart over pinned maps, until they are compared", Unit::Milliseconds, times);
    Ok(agent)
}

/// In how many backends each field differs.
fn difference(before: &[BackendValue], after: &[BackendValue]) -> String {
    let mut counts = BTreeMap::new();
    for (before, after) in before.iter().zip(after) {
        let fields = [
            ("address", before.address != after.address),
            ("mac", before.mac != after.mac),
            ("mtu", before.mtu != after.mtu),
            ("ifindex", before.ifindex != after.ifindex),
            ("bridge", before.bridge != after.bridge),
            ("listener", before.listener != after.listener),
            ("flags", before.flags != after.flags),
            ("state", before.state != after.state),
            ("generation", before.generation != after.generation),
            ("port", before.port != after.port),
            ("balancer", before.balancer != after.balancer),
            ("weight", before.weight != after.weight),
        ];
        for (field, _) in fields.into_iter().filter(|(_, differs)| *differs) {
            *counts.entry(field).or_insert(0) += 1;
        }
    }
    if counts.is_empty() { String::new() } else { format!("{counts:?}") }
}
