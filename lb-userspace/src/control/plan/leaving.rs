//! Until when backends that leave may finish their flows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::datapath::model::{BackendId, BackendState};

/// Since when each leaving backend has been draining, by id and generation. After a restart, all of them since
/// the first plan.
#[derive(Default, Debug)]
pub(super) struct Leaving {
    known: BTreeMap<(BackendId, u8), Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    since: Instant,
    deadline: Option<Instant>,
    /// Seen in the plan that is being made.
    current: bool,
}

impl Leaving {
    /// Begins a plan: those who do not leave in it are forgotten at its end.
    pub(super) fn begin(&mut self) {
        self.known.values_mut().for_each(|known| known.current = false);
    }

    /// Ends a plan.
    pub(super) fn end(&mut self) {
        self.known.retain(|_, known| known.current);
    }

    /// A backend does not leave, or not any more.
    pub(super) fn stays(&mut self, backend: (BackendId, u8)) {
        self.known.remove(&backend);
    }

    /// The state of a backend that leaves: draining, until its time is over. Without a time it drains for as
    /// long as its flows last.
    pub(super) fn state(
        &mut self,
        backend: (BackendId, u8),
        time: Option<Duration>,
        now: Instant,
    ) -> BackendState {
        let known = self.known.entry(backend).or_insert(Known { since: now, deadline: None, current: true });
        known.current = true;
        known.deadline = time.map(|time| known.since + time);
        if known.deadline.is_some_and(|deadline| deadline <= now) {
            known.deadline = None;
            BackendState::Dead
        } else {
            BackendState::Draining
        }
    }

    /// When the next one's time is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.known.values().filter_map(|known| known.deadline).min()
    }
}
