//! What is remembered of listeners until their next plan: which backends get ready slowly, and when it is due.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use crate::datapath::model::ListenerAddress;

/// Since when backends that do not have their whole share yet have been ready. An agent that restarts gives it to all.
pub(super) type Rising = BTreeMap<SocketAddr, Instant>;

/// By listener.
#[derive(Clone, Default, Debug)]
pub(super) struct Timetable {
    rising: BTreeMap<ListenerAddress, Rising>,
    due: BTreeMap<ListenerAddress, Instant>,
    /// The same, in the order of time.
    order: BTreeSet<(Instant, ListenerAddress)>,
}

impl Timetable {
    /// Forgets a listener. Tells who was rising.
    pub(super) fn take(&mut self, listener: ListenerAddress) -> Rising {
        if let Some(due) = self.due.remove(&listener) {
            self.order.remove(&(due, listener));
        }
        self.rising.remove(&listener).unwrap_or_default()
    }

    /// Remembers a listener that was forgotten.
    pub(super) fn put(&mut self, listener: ListenerAddress, rising: Rising, due: Option<Instant>) {
        if !rising.is_empty() {
            self.rising.insert(listener, rising);
        }
        if let Some(due) = due {
            self.due.insert(listener, due);
            self.order.insert((due, listener));
        }
    }

    /// The listeners whose time has come.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = ListenerAddress> {
        self.order.iter().take_while(move |(due, _)| *due <= now).map(|(_, listener)| *listener)
    }

    /// When the next one's time comes.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }
}
