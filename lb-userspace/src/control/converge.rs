//! From desired to done: plans, executes, and tries again what fails.
//!
//! Input: [`Desired`] and the time. Output: commands to the datapath. What the datapath holds is read back at
//! the start, after a failure and at every resync; in between it is known from the commands.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::model::{Altered, Desired};
use super::plan::{Catalogue, Plan, Planner, withdrawal};
use crate::datapath::Datapath;
use crate::datapath::flows::model::BackendRef;
use crate::datapath::model::{BackendEntry, BackendId, BackendState, Command, Observed, VipPolicy};

/// The pause after the first failure; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Tables that are swapped together: each is an open file for as long.
const TOGETHER: usize = 256;
/// The longest pause.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// A failure that is tried again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What was to be done.
    pub action: String,
    /// What went wrong.
    pub error: String,
    /// Failures in a row.
    pub attempts: u32,
    /// When it is tried again.
    pub retry_at: Instant,
}

/// Leads the datapath to what is desired.
pub struct Converger<D> {
    datapath: D,
    planner: Planner,
    catalogue: Catalogue,
    /// The catalogue tells what the datapath holds.
    is_known: bool,
    failure: Option<Failure>,
    left_out: usize,
    /// All that was desired last has been done.
    is_followed: bool,
    ended: BTreeSet<BackendRef>,
}

impl<D: Datapath> Converger<D> {
    /// Over a datapath of which nothing is known yet.
    pub fn new(datapath: D, planner: Planner) -> Self {
        Self {
            datapath,
            planner,
            catalogue: Catalogue::default(),
            is_known: false,
            failure: None,
            left_out: 0,
            is_followed: false,
            ended: BTreeSet::new(),
        }
    }

    /// The datapath, for what is not planned: ports and counters.
    pub fn datapath(&mut self) -> &mut D {
        &mut self.datapath
    }

    /// What the datapath holds, read back unless it is known.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn observed(&self) -> Result<Observed, D::Error> {
        if self.is_known { Ok(self.catalogue.observed().clone()) } else { self.datapath.observe() }
    }

    /// Forgets what the datapath holds: the next plan reads it back.
    pub fn forget(&mut self) {
        self.catalogue.forget();
        self.is_known = false;
        self.is_followed = false;
    }

    /// Reads back what the datapath holds, unless it is known. Says whether it is then.
    pub fn read_back(&mut self, now: Instant) -> bool {
        if self.is_known {
            return true;
        }
        match self.datapath.observe() {
            Ok(observed) => {
                self.ended.extend(observed.backends.iter().filter_map(ended));
                self.catalogue.replace(observed, now);
                self.is_known = true;
                true
            }
            Err(error) => self.fail("read the maps back".into(), &error, now),
        }
    }

    /// The failure that waits for its next try.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// When there is something to do whatever the facts: a failure is tried again, or a time in the plan is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.failure {
            Some(failure) => Some(failure.retry_at),
            None => self.planner.poll_timeout(),
        }
    }

    /// Backends whose flows are over, since this was asked last: those that died, and those that were found dead.
    pub fn take_ended(&mut self) -> BTreeSet<BackendRef> {
        std::mem::take(&mut self.ended)
    }

    /// Listeners and backends for which the maps have no room.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Executes what leads to `desired`, up to the first failure. Waits out the pause after a failure. `altered` is
    /// what is not desired, or not as it was, since this was asked last. All the rest is looked at, too, when the
    /// datapath was read back, when something was withdrawn, and when something found no room.
    /// Says whether the datapath is as desired now.
    pub fn converge(&mut self, desired: &Desired, altered: &Altered, now: Instant) -> bool {
        if self.failure.as_ref().is_some_and(|failure| now < failure.retry_at) {
            return false;
        }
        let is_whole = !self.is_followed || self.left_out > 0;
        if !self.read_back(now) {
            return false;
        }
        let Plan { commands, unplaced_listeners, unplaced_backends } = if is_whole {
            self.planner.plan(desired, &self.catalogue, now)
        } else {
            self.planner.plan_changes(desired, &self.catalogue, altered, now)
        };
        self.report_left_out(unplaced_listeners.len() + unplaced_backends.len());
        for run in commands.chunk_by(are_tables).flat_map(|run| run.chunks(TOGETHER)) {
            if let Err(error) = self.datapath.execute_together(run) {
                let first = run.first().map(describe).unwrap_or_default();
                let action =
                    if run.len() > 1 { format!("{first} and {} more", run.len() - 1) } else { first };
                return self.fail(action, &error, now);
            }
            for command in run {
                tracing::debug!("{}", describe(command));
                self.enter(command, now);
            }
        }
        self.is_followed = true;
        if let Some(failure) = self.failure.take() {
            tracing::info!("{}: done after {} failures", failure.action, failure.attempts);
        }
        true
    }

    /// Takes note of a command that was carried out.
    fn enter(&mut self, command: &Command, now: Instant) {
        if let Command::PutBackend(id, entry) = command {
            self.ended.extend(ended((id, entry)));
        }
        self.catalogue.apply(command, now);
    }

    /// Stops serving VIPs at once, whatever else is known or not: nothing is desired by it. Whether there is anything
    /// to stop is up to `which`, which chooses among the VIPs that the datapath holds.
    pub fn withdraw(
        &mut self,
        which: impl FnOnce(&BTreeMap<IpAddr, VipPolicy>) -> BTreeSet<IpAddr>,
        now: Instant,
    ) {
        if self.failure.as_ref().is_some_and(|failure| now < failure.retry_at) {
            return;
        }
        if !self.read_back(now) {
            return;
        }
        let vips = which(&self.catalogue.observed().vips);
        for command in withdrawal(&self.catalogue, &vips) {
            self.is_followed = false;
            if let Err(error) = self.datapath.execute(&command) {
                self.fail(describe(&command), &error, now);
                return;
            }
            tracing::info!("{}", describe(&command));
            self.enter(&command, now);
        }
    }

    /// Forgets a failure whose pause is over, where no plan follows that would try again.
    pub fn forget_failure(&mut self, now: Instant) {
        self.failure.take_if(|failure| failure.retry_at <= now);
    }

    fn report_left_out(&mut self, left_out: usize) {
        if left_out > self.left_out {
            tracing::warn!(
                "{left_out} listeners or backends find no room in the maps; \
                 raise datapath.maxListeners or datapath.maxBackends"
            );
        }
        self.left_out = left_out;
    }

    fn fail(&mut self, action: String, error: &D::Error, now: Instant) -> bool {
        let attempts = self.failure.as_ref().map_or(0, |failure| failure.attempts).saturating_add(1);
        let pause = FIRST_RETRY.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LAST_RETRY);
        tracing::warn!("{action}: {error}; tried again in {pause:?}");
        self.failure = Some(Failure { action, error: error.to_string(), attempts, retry_at: now + pause });
        self.forget();
        false
    }
}

/// The backend, if it is dead.
fn ended((id, entry): (&BackendId, &BackendEntry)) -> Option<BackendRef> {
    (entry.state == BackendState::Dead).then(|| BackendRef::new(id.0, entry.generation))
}

/// Tables are put together: no listener looks at another's.
fn are_tables(one: &Command, next: &Command) -> bool {
    matches!((one, next), (Command::PutTable(..), Command::PutTable(..)))
}

/// The command in words.
fn describe(command: &Command) -> String {
    match command {
        Command::PutVip(vip, _) => format!("answer for {vip}"),
        Command::RemoveVip(vip) => format!("stop answering for {vip}"),
        Command::PutBackend(id, entry) => {
            format!("put backend {} ({}) {:?}", id.0, entry.address, entry.state)
        }
        Command::PutTable(index, slots) => format!("put table {} of {} slots", index.0, slots.len()),
        Command::RemoveTable(index) => format!("remove table {}", index.0),
        Command::PutListener(address, entry) => format!("put listener {address} as {}", entry.index.0),
        Command::RemoveListener(address) => format!("remove listener {address}"),
        Command::PutSource(balancer, range, source) => {
            format!("put clients {range} of load balancer {}: {source:?}", balancer.0)
        }
        Command::RemoveSource(balancer, range) => {
            format!("remove clients {range} of load balancer {}", balancer.0)
        }
        Command::PutLimits(balancer, limits) => {
            format!("put limits of load balancer {}: {limits:?}", balancer.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::plan::Capacity;
    use crate::datapath::counters::Counters;
    use crate::datapath::memory::Memory;
    use crate::datapath::port::{Port, Served};

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));

    /// A datapath in memory that refuses the first commands.
    #[derive(Default)]
    struct Refusing {
        memory: Memory,
        refusals: u32,
        reads: std::cell::Cell<u32>,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the map is full")]
    struct Full;

    impl Datapath for Refusing {
        type Error = Full;

        fn observe(&self) -> Result<Observed, Full> {
            self.reads.set(self.reads.get() + 1);
            Ok(self.memory.observe().unwrap())
        }

        fn execute(&mut self, command: &Command) -> Result<(), Full> {
            if self.refusals > 0 {
                self.refusals -= 1;
                return Err(Full);
            }
            self.memory.execute(command).unwrap();
            Ok(())
        }

        fn serve(&mut self, ports: &BTreeMap<u32, Port>) -> Result<Served, Full> {
            Ok(self.memory.serve(ports).unwrap())
        }

        fn counters(&self, observed: &Observed) -> Result<Counters, Full> {
            Ok(self.memory.counters(observed).unwrap())
        }

        fn flow_table(&self) -> std::sync::Arc<dyn crate::datapath::flows::FlowTable> {
            self.memory.flow_table()
        }
    }

    fn converger(refusals: u32) -> Converger<Refusing> {
        let capacity = Capacity { listeners: 8, backends: 8 };
        Converger::new(Refusing { refusals, ..Refusing::default() }, Planner::new(capacity, 1))
    }

    fn converge(converger: &mut Converger<Refusing>, desired: &Desired, now: Instant) -> bool {
        let vips = BTreeSet::from([VIP]);
        converger.converge(desired, &Altered { vips, ..Altered::default() }, now)
    }

    fn desired() -> Desired {
        Desired { vips: BTreeMap::from([(VIP, VipPolicy::default())]), ..Desired::default() }
    }

    #[test]
    fn a_failed_command_is_tried_again_with_growing_pauses() {
        let mut converger = converger(2);
        let start = Instant::now();
        assert!(!converge(&mut converger, &desired(), start));
        let first = converger.failure().unwrap().clone();
        assert_eq!((first.attempts, first.retry_at), (1, start + FIRST_RETRY));
        assert_eq!(
            (first.action.as_str(), first.error.as_str()),
            ("answer for 192.0.2.80", "the map is full")
        );
        assert!(!converge(&mut converger, &desired(), start), "before its time");
        assert!(!converge(&mut converger, &desired(), first.retry_at));
        let second = converger.failure().unwrap().clone();
        assert_eq!((second.attempts, second.retry_at), (2, first.retry_at + 2 * FIRST_RETRY));
        assert!(converge(&mut converger, &desired(), second.retry_at));
        assert!(converger.failure().is_none());
    }

    #[test]
    fn the_maps_are_read_back_once_and_after_a_failure() {
        let mut converger = converger(0);
        for _ in 0..3 {
            assert!(converge(&mut converger, &desired(), Instant::now()));
        }
        assert_eq!(converger.datapath().reads.get(), 1);
        converger.datapath().refusals = 1;
        let start = Instant::now();
        assert!(!converge(&mut converger, &Desired::default(), start));
        assert!(converge(&mut converger, &Desired::default(), start + FIRST_RETRY));
        assert_eq!(converger.datapath().reads.get(), 2);
        assert_eq!(converger.datapath().memory.observe().unwrap(), Observed::default());
    }
}
