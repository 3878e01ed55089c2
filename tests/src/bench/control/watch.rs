//! Watches the maps for what changes were to bring about.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lb_common::backend::ACTIVE;

use super::log::{Line, Moment, Tail};
use super::maps::{self, Maps};
use super::size::Size;

/// How often the maps are looked at. All figures are as much too great at most.
const POLL: Duration = Duration::from_micros(200);
/// How long the last change may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a change brings about, in the table that flows are opened by and in the entry of the backend.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// A backend takes flows, or takes none.
    Takes { id: u32, flows: bool },
    /// A listener has a backend at this address that takes flows.
    Serves { listener: u32, address: Ipv4Addr },
    /// A backend has three times the share of others.
    Weighs { id: u32 },
}

const KINDS: usize = 4;

/// Kinds of changes, by which latencies are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Health,
    Facts,
    Burst,
    Object,
}

impl Kind {
    pub(super) const ALL: [Self; KINDS] = [Self::Health, Self::Facts, Self::Burst, Self::Object];

    pub(super) fn name(self, size: &Size) -> String {
        match self {
            Self::Health => "a backend's health".to_owned(),
            Self::Facts => "a VM's label or address".to_owned(),
            Self::Burst => format!("{} VMs at once", size.burst_vms()),
            Self::Object => "a weight, through the API".to_owned(),
        }
    }
}

/// A file of facts: one VM's change, or a burst.
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) written: Moment,
    pub(super) effects: Vec<Effect>,
}

/// What was changed and not been heard of yet.
pub(super) struct Expected {
    pub(super) facts: Receiver<Facts>,
    /// By the API, one by one.
    pub(super) objects: Receiver<Effect>,
}

/// What both sides know of how far things are.
#[derive(Default)]
pub(super) struct Progress {
    /// Files of facts that the agent has read.
    pub(super) facts_read: AtomicU32,
    /// Nothing more will be changed.
    pub(super) is_over: AtomicBool,
}

/// The watcher's state.
pub(super) struct Watcher<'a> {
    pub(super) maps: &'a Maps,
    pub(super) log: Tail,
    pub(super) expected: Expected,
    /// Probed backends by address.
    pub(super) probed: HashMap<Ipv4Addr, u32>,
    pub(super) progress: &'a Progress,
    waiting: [VecDeque<(Moment, Effect)>; KINDS],
    seen: Seen,
}

/// What the watcher has seen, in milliseconds.
#[derive(Default)]
pub(super) struct Seen {
    /// Of each effect, from when the agent knew of the change, by kind.
    pub(super) latencies: [Vec<f64>; KINDS],
    /// Of each file of facts, from when it was written until the agent knew what it says.
    pub(super) readings: Vec<f64>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        maps: &'a Maps,
        log: Tail,
        expected: Expected,
        probed: HashMap<Ipv4Addr, u32>,
        progress: &'a Progress,
    ) -> Self {
        let (waiting, seen) = Default::default();
        Self { maps, log, expected, probed, progress, waiting, seen }
    }

    /// Watches until all changes have arrived.
    pub(super) fn run(mut self) -> Result<Seen> {
        let mut last = Instant::now();
        loop {
            for line in self.log.lines()? {
                self.take(&line);
            }
            let mut is_idle = true;
            for kind in Kind::ALL {
                while let Some((known, effect)) = self.waiting[kind as usize].front().copied() {
                    if !self.has_come(effect)? {
                        is_idle = false;
                        break;
                    }
                    self.waiting[kind as usize].pop_front();
                    self.seen.latencies[kind as usize].push(Moment::now().milliseconds_since(known));
                    last = Instant::now();
                }
            }
            if self.progress.is_over.load(Ordering::Acquire) && is_idle {
                let (facts, object) =
                    (self.expected.facts.try_recv().ok(), self.expected.objects.try_recv().ok());
                match (facts, object) {
                    // What was sent last may have to be heard of yet.
                    (None, None) => return Ok(self.seen),
                    (facts, object) => self.wait_for(facts, object)?,
                }
            }
            if !is_idle && last.elapsed() > DEADLINE {
                let late = self.waiting.iter().map(|waiting| (waiting.front(), waiting.len()));
                let late: Vec<_> = late.filter(|(_, waiting)| *waiting != 0).collect();
                bail!("not in the maps within {DEADLINE:?}, and how many wait for it: {late:?}");
            }
            if is_idle {
                last = Instant::now();
            }
            sleep(POLL);
        }
    }

    /// Waits for the lines of the last changes.
    fn wait_for(&mut self, facts: Option<Facts>, object: Option<Effect>) -> Result<()> {
        let started = Instant::now();
        let (mut facts, mut object) = (facts, object);
        while facts.is_some() || object.is_some() {
            for line in self.log.lines()? {
                if is_facts(&line)
                    && let Some(facts) = facts.take()
                {
                    self.read(facts, line.at);
                } else if is_object(&line)
                    && let Some(effect) = object.take()
                {
                    self.queue(Kind::Object, line.at, [effect]);
                } else {
                    self.take(&line);
                }
            }
            if started.elapsed() > DEADLINE {
                bail!("the agent has not heard of the last changes within {DEADLINE:?}");
            }
            sleep(POLL);
        }
        Ok(())
    }

    fn take(&mut self, line: &Line) {
        if is_facts(line) {
            if let Ok(facts) = self.expected.facts.try_recv() {
                self.read(facts, line.at);
            }
            self.progress.facts_read.fetch_add(1, Ordering::Release);
        } else if is_object(line) {
            if let Ok(effect) = self.expected.objects.try_recv() {
                self.queue(Kind::Object, line.at, [effect]);
            }
        } else if let Some(flows) = health(line)
            && let Some(address) = line.field("address").and_then(|address| address.parse().ok())
            && let Some(&id) = self.probed.get(&address)
        {
            self.queue(Kind::Health, line.at, [Effect::Takes { id, flows }]);
        }
    }

    fn read(&mut self, facts: Facts, known: Moment) {
        self.seen.readings.push(known.milliseconds_since(facts.written));
        self.queue(facts.kind, known, facts.effects);
    }

    fn queue(&mut self, kind: Kind, known: Moment, effects: impl IntoIterator<Item = Effect>) {
        self.waiting[kind as usize].extend(effects.into_iter().map(|effect| (known, effect)));
    }

    fn has_come(&self, effect: Effect) -> Result<bool> {
        match effect {
            Effect::Takes { id, flows } => {
                let backend = self.maps.backend(id)?;
                Ok((backend.state == ACTIVE) == flows
                    && self.maps.shares(backend.listener)?.contains_key(&id) == flows)
            }
            Effect::Serves { listener, address } => {
                // Ids are read anew each time: once they have rested, they are other backends'.
                for id in self.maps.shares(listener)?.into_keys() {
                    let backend = self.maps.backend(id)?;
                    if maps::address(&backend) == address {
                        return Ok(backend.state == ACTIVE);
                    }
                }
                Ok(false)
            }
            Effect::Weighs { id } => {
                let backend = self.maps.backend(id)?;
                if backend.weight != 3 {
                    return Ok(false);
                }
                let shares = self.maps.shares(backend.listener)?;
                let (own, all) = (shares.get(&id).copied().unwrap_or_default(), shares.values().sum::<u32>());
                Ok(own as usize * shares.len() > all as usize * 3 / 2)
            }
        }
    }
}

fn is_facts(line: &Line) -> bool {
    line.says(" virtual machines")
}

fn is_object(line: &Line) -> bool {
    line.says(" configured")
}

fn health(line: &Line) -> Option<bool> {
    if line.says("backend is ready") {
        Some(true)
    } else if line.says("backend is not ready") {
        Some(false)
    } else {
        None
    }
}
