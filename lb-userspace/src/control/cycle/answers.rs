//! Waiting a moment for the network to tell where new addresses are.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::inventory::links::{Addresses, Topology};

/// How long the network may take, before the rest is done without the answer.
const PATIENCE: Duration = Duration::from_millis(5);

/// New addresses that the network has been asked about.
#[derive(Default)]
pub(super) struct Answers {
    asked: BTreeSet<IpAddr>,
    until: Option<Instant>,
}

impl Answers {
    /// Until when the datapath is left as it is.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// Whether all is known about addresses that were `new` since this was asked last, and still are of interest, or may
    /// take longer: what comes of them is one change for the datapath then, not two.
    pub(super) fn have_come(
        &mut self,
        new: BTreeSet<IpAddr>,
        addresses: &Addresses,
        topology: &Topology,
        now: Instant,
    ) -> bool {
        self.asked.extend(new);
        self.asked
            .retain(|address| addresses.contains_key(address) && !topology.settled.contains_key(address));
        if !self.asked.is_empty() && now < *self.until.get_or_insert(now + PATIENCE) {
            return false;
        }
        *self = Self::default();
        true
    }
}
