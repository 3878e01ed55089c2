//! Questions, and how they are repeated.

use std::time::{Duration, Instant};

use super::lease::Granted;
use super::{Command, Machine, Request, RequestKind, State};

/// The first pause between questions; each further one is twice as long (RFC 2131 section 4.1).
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// Pauses are longer or shorter by up to so much, and no more than a quarter.
const JITTER: Duration = Duration::from_secs(1);
/// A question for more time is repeated no sooner (RFC 2131 section 4.4.5) where the lease is so long that it can
/// be: of a lease of minutes, a lost question would take all that there is.
const RENEWAL_PAUSE: Duration = Duration::from_mins(1);

/// A question that awaits its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    kind: RequestKind,
    pub(super) xid: u32,
    /// When it was asked first.
    pub(super) first: Instant,
    /// How often it has been asked.
    pub(super) sent: u32,
    /// When it is asked again.
    pub(super) next: Instant,
}

impl Asking {
    /// The question in general.
    pub(super) fn request(&self, now: Instant) -> Request {
        let seconds = now.saturating_duration_since(self.first).as_secs();
        Request {
            kind: self.kind,
            xid: self.xid,
            seconds: u16::try_from(seconds).unwrap_or(u16::MAX),
            using: None,
            requested: None,
            server: None,
            reason: None,
        }
    }
}

impl Machine {
    /// A new question.
    pub(super) fn ask(&mut self, kind: RequestKind, now: Instant) -> Asking {
        Asking { kind, xid: self.entropy.id(), first: now, sent: 0, next: now }
    }

    /// The question that awaits an answer.
    pub(super) const fn asking(&self) -> Option<&Asking> {
        match &self.state {
            State::Selecting(asking)
            | State::Requesting(asking, _)
            | State::Rebooting(asking, _)
            | State::Renewing(asking, _)
            | State::Rebinding(asking, _) => Some(asking),
            State::Init { .. } | State::Probing { .. } | State::Bound { .. } | State::Released => None,
        }
    }

    /// Asks, once more, what the state is about.
    pub(super) fn say(&mut self, now: Instant) {
        let Some(mut asking) = self.asking().copied() else { return };
        asking.sent = asking.sent.saturating_add(1);
        let request = asking.request(now);
        let (request, server) = match &self.state {
            State::Requesting(_, offered) => {
                let server = Some(offered.server.address);
                (Request { requested: Some(offered.address), server, ..request }, None)
            }
            State::Rebooting(_, granted) => (Request { requested: Some(granted.address), ..request }, None),
            State::Renewing(_, granted) => {
                (Request { using: Some(granted.address), ..request }, Some(granted.server))
            }
            State::Rebinding(_, granted) => (Request { using: Some(granted.address), ..request }, None),
            State::Selecting(_)
            | State::Init { .. }
            | State::Probing { .. }
            | State::Bound { .. }
            | State::Released => (Request { requested: self.remembered, ..request }, None),
        };
        self.commands.push_back(Command::Send(request, server));
        asking.next = now + self.until_again(&asking, now);
        match &mut self.state {
            State::Selecting(last)
            | State::Requesting(last, _)
            | State::Rebooting(last, _)
            | State::Renewing(last, _)
            | State::Rebinding(last, _) => *last = asking,
            State::Init { .. } | State::Probing { .. } | State::Bound { .. } | State::Released => {}
        }
    }

    /// How long an answer is waited for.
    fn until_again(&mut self, asking: &Asking, now: Instant) -> Duration {
        let until = |granted: &Granted, end: Option<Instant>| {
            let left = end.map_or(RENEWAL_PAUSE, |end| end.saturating_duration_since(now));
            let part = granted.length.unwrap_or(RENEWAL_PAUSE) / 16;
            (left / 2).max(part.min(RENEWAL_PAUSE)).min(left)
        };
        match &self.state {
            State::Renewing(_, granted) => until(granted, granted.rebind_at),
            State::Rebinding(_, granted) => until(granted, granted.expires_at),
            State::Init { .. }
            | State::Selecting(_)
            | State::Requesting(..)
            | State::Probing { .. }
            | State::Rebooting(..)
            | State::Bound { .. }
            | State::Released => self.pause(asking.sent),
        }
    }

    /// The pause after the `count`-th failure, from 1.
    pub(super) fn pause(&mut self, count: u32) -> Duration {
        let doublings = count.saturating_sub(1).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(self.patience.longest_pause);
        let jitter = JITTER.min(pause / 4);
        pause.saturating_sub(jitter).saturating_add(self.entropy.below(jitter.saturating_mul(2)))
    }
}
