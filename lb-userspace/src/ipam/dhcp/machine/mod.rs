//! The client's side of RFC 2131, figure 5, with RFC 5227's probe before an address is used.
//!
//! Pure: events and the time go in, [`Command`]s come out. It never gives up: whatever fails is tried again, with
//! pauses that grow.

mod ask;
mod entropy;
mod lease;
mod model;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lb_common::net::Mac;

use super::frame::Arp;
use super::message::{Reply, ReplyKind, Request, RequestKind};
use ask::Asking;
pub use entropy::Entropy;
pub use lease::{Granted, Server};
pub use model::{Command, Patience, Phase, Problem};

/// Requests for an offer that stay unanswered, until another offer is looked for.
const REQUESTS: u32 = 4;
/// Questions after a restart that stay unanswered, until the lease is taken for what it was.
const REBOOTS: u32 = 3;
/// How long is waited after a declined address (RFC 2131 section 3.1, 5).
const DECLINE_PAUSE: Duration = Duration::from_secs(10);
/// ARP probes for one address (RFC 5227 section 1.1).
const PROBES: u32 = 3;
/// From the first announcement to the second.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// An address is defended no more often (RFC 5227 section 2.4).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum State {
    Init { until: Instant },
    Selecting(Asking),
    Requesting(Asking, Granted),
    Probing { granted: Granted, sent: u32, next: Instant },
    Rebooting(Asking, Granted),
    Bound { granted: Granted, announce_at: Option<Instant> },
    Renewing(Asking, Granted),
    Rebinding(Asking, Granted),
    Released,
}

/// A client.
#[derive(Debug)]
pub struct Machine {
    patience: Patience,
    entropy: Entropy,
    state: State,
    /// What it had last, and asks for again.
    remembered: Option<Ipv4Addr>,
    /// Grants in a row that came to nothing.
    failures: u32,
    problem: Option<Problem>,
    defended_at: Option<Instant>,
    commands: VecDeque<Command>,
}

impl Machine {
    /// Without an address. It asks for `remembered`, if it had one.
    pub fn new(patience: Patience, mut entropy: Entropy, remembered: Option<Ipv4Addr>, now: Instant) -> Self {
        // Clients that start together do not ask together (RFC 2131 section 4.4.1).
        let until = now + entropy.below(patience.longest_pause / 64);
        Self {
            patience,
            entropy,
            state: State::Init { until },
            remembered,
            failures: 0,
            problem: None,
            defended_at: None,
            commands: VecDeque::new(),
        }
    }

    /// With an address that it had before a restart, and whose lease goes on.
    pub fn resume(patience: Patience, entropy: Entropy, granted: Granted, now: Instant) -> Self {
        let mut machine = Self::new(patience, entropy, Some(granted.address), now);
        let asking = machine.ask(RequestKind::Request, now);
        machine.state = State::Rebooting(asking, granted);
        machine.say(now);
        machine
    }

    /// Where it is.
    pub const fn phase(&self) -> Phase {
        match self.state {
            State::Init { .. } => Phase::Init,
            State::Selecting(_) => Phase::Selecting,
            State::Requesting(..) => Phase::Requesting,
            State::Probing { .. } => Phase::Probing,
            State::Rebooting(..) => Phase::Rebooting,
            State::Bound { .. } => Phase::Bound,
            State::Renewing(..) => Phase::Renewing,
            State::Rebinding(..) => Phase::Rebinding,
            State::Released => Phase::Released,
        }
    }

    /// The lease of the address that may be used now.
    pub const fn held(&self) -> Option<&Granted> {
        match &self.state {
            State::Rebooting(_, granted)
            | State::Bound { granted, .. }
            | State::Renewing(_, granted)
            | State::Rebinding(_, granted) => Some(granted),
            State::Init { .. }
            | State::Selecting(_)
            | State::Requesting(..)
            | State::Probing { .. }
            | State::Released => None,
        }
    }

    /// The address that it uses, or is about to.
    pub fn claimed(&self) -> Option<Ipv4Addr> {
        if let State::Requesting(_, granted) | State::Probing { granted, .. } = &self.state {
            return Some(granted.address);
        }
        self.held().map(|granted| granted.address)
    }

    /// The address that it asks for when it has none.
    pub const fn remembered(&self) -> Option<Ipv4Addr> {
        self.remembered
    }

    /// Asks for any address when it has none.
    pub fn forget(&mut self) {
        self.remembered = None;
    }

    /// What is wrong.
    pub const fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// What is to be done next.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Machine::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let step = match &self.state {
            State::Init { until } => Some(*until),
            State::Selecting(asking)
            | State::Requesting(asking, _)
            | State::Rebooting(asking, _)
            | State::Renewing(asking, _)
            | State::Rebinding(asking, _) => Some(asking.next),
            State::Probing { next, .. } => Some(*next),
            State::Bound { granted, announce_at } => {
                [granted.renew_at, *announce_at].into_iter().flatten().min()
            }
            State::Released => None,
        };
        [step, self.held().and_then(|granted| granted.expires_at)].into_iter().flatten().min()
    }

    /// Does what is due. A clock that jumps passes through all that would have come in between.
    pub fn handle_timeout(&mut self, now: Instant) {
        /// More steps than there are states without a pause between.
        const STEPS: u32 = 8;
        for _ in 0..STEPS {
            if self.poll_timeout().is_none_or(|due| now < due) {
                return;
            }
            self.step(now);
        }
    }

    fn step(&mut self, now: Instant) {
        if let Some(granted) = self.held().filter(|granted| granted.is_over(now)) {
            let problem = Problem::Expired(granted.address);
            return self.begin_anew(problem, now);
        }
        match std::mem::replace(&mut self.state, State::Released) {
            State::Init { .. } => {
                self.state = State::Selecting(self.ask(RequestKind::Discover, now));
                self.say(now);
            }
            State::Requesting(asking, _) if asking.sent >= REQUESTS => {
                self.begin_anew(Problem::NoAnswer, now);
            }
            State::Rebooting(asking, granted) if asking.sent >= REBOOTS => {
                self.problem = Some(Problem::NoAnswer);
                self.state = State::Bound { granted, announce_at: None };
                self.announce(now);
            }
            State::Probing { granted, sent, .. } => self.probe(granted, sent, now),
            State::Bound { granted, announce_at: Some(due) } if due <= now => {
                self.commands.push_back(Command::Announce(granted.address));
                self.state = State::Bound { granted, announce_at: None };
            }
            State::Bound { granted, .. } => {
                self.state = State::Renewing(self.ask(RequestKind::Request, now), granted);
                self.say(now);
            }
            State::Renewing(_, granted) if granted.rebind_at.is_some_and(|due| due <= now) => {
                self.problem = Some(Problem::NoAnswer);
                self.state = State::Rebinding(self.ask(RequestKind::Request, now), granted);
                self.say(now);
            }
            again @ (State::Selecting(_)
            | State::Requesting(..)
            | State::Rebooting(..)
            | State::Renewing(..)
            | State::Rebinding(..)) => {
                if matches!(again, State::Selecting(_)) {
                    self.problem.get_or_insert(Problem::NoAnswer);
                }
                self.state = again;
                self.say(now);
            }
            State::Released => {}
        }
    }

    /// Takes a server's message. `is_taken` tells of an address that another client of this node has.
    pub fn handle_reply(
        &mut self,
        reply: &Reply,
        from: Mac,
        is_taken: impl Fn(Ipv4Addr) -> bool,
        now: Instant,
    ) {
        let Some(asking) = self.asking().filter(|asking| asking.xid == reply.xid) else { return };
        let (since, before) = (asking.first, self.held().copied());
        let server = match (reply.server, before) {
            (Some(address), _) => Server { address, mac: from },
            (None, Some(before)) => Server { mac: from, ..before.server },
            (None, None) => return,
        };
        let granted = Granted::read(reply, server, since, &mut self.entropy);
        match (&self.state, reply.kind) {
            (State::Selecting(_), ReplyKind::Offer) => {
                let Some(granted) = granted else { return };
                if is_taken(granted.address) {
                    self.problem = Some(Problem::Taken(granted.address));
                    return;
                }
                self.state = State::Requesting(self.ask(RequestKind::Request, now), granted);
                self.say(now);
            }
            (State::Requesting(_, offered), ReplyKind::Ack | ReplyKind::Nak)
                if offered.server.address != server.address => {}
            (State::Requesting(_, offered), ReplyKind::Ack) => match granted {
                Some(granted) if granted.address == offered.address => self.probe(granted, 0, now),
                Some(_) | None => {}
            },
            (State::Rebooting(..) | State::Renewing(..) | State::Rebinding(..), ReplyKind::Ack) => {
                if let Some(granted) =
                    granted.filter(|new| before.is_some_and(|old| new.address == old.address))
                {
                    let is_reboot = matches!(self.state, State::Rebooting(..));
                    self.bind(granted, None);
                    if is_reboot {
                        self.announce(now);
                    }
                }
            }
            (
                State::Requesting(..) | State::Rebooting(..) | State::Renewing(..) | State::Rebinding(..),
                ReplyKind::Nak,
            ) => {
                self.remembered = None;
                self.begin_anew(Problem::Refused, now);
            }
            _ => {}
        }
    }

    /// Takes what somebody else said by ARP.
    pub fn handle_arp(&mut self, arp: &Arp, now: Instant) {
        let Some(address) = self.claimed() else { return };
        let claims = arp.claimed == Some(address);
        if let State::Probing { granted, .. } = &self.state {
            // Whoever probes for it at the same time is about to use it.
            if claims || (arp.is_request && arp.claimed.is_none() && arp.target == address) {
                let server = granted.server.address;
                self.decline(address, server, Problem::Conflict(address, arp.sender), now);
            }
        } else if claims && self.held().is_some() {
            self.problem = Some(Problem::Conflict(address, arp.sender));
            if self.defended_at.is_none_or(|last| now >= last + DEFEND_INTERVAL) {
                self.defended_at = Some(now);
                self.commands.push_back(Command::Announce(address));
            }
        }
    }

    /// Tells the network where the address is: its MAC may be another one than before.
    pub fn announce(&mut self, now: Instant) {
        let Some(address) = self.held().map(|granted| granted.address) else { return };
        self.commands.push_back(Command::Announce(address));
        if let State::Bound { announce_at, .. } = &mut self.state {
            *announce_at = now.checked_add(ANNOUNCE_INTERVAL);
        }
    }

    /// Declines an address that this node answers for otherwise, however far it has come to be used: who has it
    /// without a lease can't be offered another one.
    pub fn handle_overlap(&mut self, now: Instant) {
        let Some(Granted { address, server, .. }) = self.granted().copied() else { return };
        self.commands.retain(|command| *command != Command::Announce(address));
        self.decline(address, server.address, Problem::Pooled(address), now);
    }

    /// Gives the address back.
    pub fn release(&mut self, now: Instant) {
        if let Some(Granted { address, server, .. }) = self.granted().copied() {
            let asking = self.ask(RequestKind::Release, now);
            let request =
                Request { using: Some(address), server: Some(server.address), ..asking.request(now) };
            self.commands.push_back(Command::Send(request, Some(server)));
        }
        self.state = State::Released;
    }

    /// What a server has confirmed, in use or about to be.
    fn granted(&self) -> Option<&Granted> {
        if let State::Probing { granted, .. } = &self.state { Some(granted) } else { self.held() }
    }

    fn decline(&mut self, address: Ipv4Addr, server: Ipv4Addr, problem: Problem, now: Instant) {
        let request = Request {
            requested: Some(address),
            server: Some(server),
            reason: Some("address in use"),
            ..self.ask(RequestKind::Decline, now).request(now)
        };
        self.commands.push_back(Command::Send(request, None));
        self.remembered = None;
        self.begin_anew(problem, now);
    }

    /// Sends the next probe for an address that was granted, or uses it after the last.
    fn probe(&mut self, granted: Granted, sent: u32, now: Instant) {
        if self.patience.probe.is_zero() || sent >= PROBES {
            self.commands.push_back(Command::Announce(granted.address));
            return self.bind(granted, now.checked_add(ANNOUNCE_INTERVAL));
        }
        self.commands.push_back(Command::Probe(granted.address));
        self.state = State::Probing {
            granted,
            sent: sent.saturating_add(1),
            next: now + self.patience.probe / PROBES,
        };
    }

    fn bind(&mut self, granted: Granted, announce_at: Option<Instant>) {
        self.remembered = Some(granted.address);
        self.failures = 0;
        self.problem = None;
        self.state = State::Bound { granted, announce_at };
    }

    /// Looks for an address again: at once after the first failure, later after others.
    fn begin_anew(&mut self, problem: Problem, now: Instant) {
        let pause = match &problem {
            Problem::Conflict(..) | Problem::Pooled(_) => DECLINE_PAUSE.min(self.patience.longest_pause),
            Problem::NoAnswer | Problem::Refused | Problem::Expired(_) | Problem::Taken(_) => Duration::ZERO,
        };
        let more = if self.failures == 0 { Duration::ZERO } else { self.pause(self.failures) };
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(problem);
        self.state = State::Init { until: now + pause.max(more) };
    }
}
