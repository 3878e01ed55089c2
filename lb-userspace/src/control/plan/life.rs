//! What time does to the backends of a listener: those that leave may finish their flows for a while, and those that
//! get ready may take their share by and by.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::datapath::model::{BackendId, BackendState};

use super::catalogue::Catalogue;
use super::ramp::{STEPS, step};
use super::timetable::Rising;

/// The backends of one listener in one plan.
pub(super) struct Life<'a> {
    catalogue: &'a Catalogue,
    now: Instant,
    before: Rising,
    rising: Rising,
    due: Option<Instant>,
}

impl<'a> Life<'a> {
    /// `before` are those that were rising in the plan before.
    pub(super) const fn new(catalogue: &'a Catalogue, before: Rising, now: Instant) -> Self {
        Self { catalogue, now, before, rising: Rising::new(), due: None }
    }

    /// The share in [`STEPS`] of a backend that takes flows. `is_new`: it took none until now. Whenever it takes none,
    /// and so is not asked for here, it begins anew.
    pub(super) fn share(&mut self, server: SocketAddr, is_new: bool, time: Duration) -> u32 {
        let begins = (is_new && !time.is_zero()).then_some(self.now);
        let Some(since) = self.before.get(&server).copied().or(begins) else { return STEPS };
        let (steps, next) = step(since, time, self.now);
        if let Some(next) = next {
            self.rising.insert(server, since);
            self.plan_at(next);
        }
        steps
    }

    /// The state of a backend that leaves: draining, until its time is over. Without a time it drains for as
    /// long as its flows last.
    pub(super) fn leave(
        &mut self,
        id: BackendId,
        server: SocketAddr,
        time: Option<Duration>,
    ) -> BackendState {
        let since = self.catalogue.draining_since(id, server.ip()).unwrap_or(self.now);
        match time.map(|time| since + time) {
            Some(deadline) if deadline <= self.now => return BackendState::Dead,
            Some(deadline) => self.plan_at(deadline),
            None => {}
        }
        BackendState::Draining
    }

    fn plan_at(&mut self, time: Instant) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// Who is rising, and when the listener is to be planned again.
    pub(super) fn end(self) -> (Rising, Option<Instant>) {
        (self.rising, self.due)
    }
}
