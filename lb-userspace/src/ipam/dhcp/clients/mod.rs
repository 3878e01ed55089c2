//! All clients of a node: who hears which frame, and what each has.
//!
//! Pure: no clock, no sockets. `now` and `moment` are the same time on the clock that only runs and on the wall's.

mod client;
mod leaving;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use jiff::Timestamp;

use super::frame::{self, Arp, Heard};
use super::left;
use super::machine::{Entropy, Machine, Patience, Phase};
use super::message::Reply;
use super::model::{Facts, Hardware, Lease, Link, Place, State, Stored, Wanted, Wish, identity};
use crate::model::meta::NamespacedName;
use client::Client;
use lb_common::net::Mac;

/// How clients behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Whose MAC messages carry.
    pub hardware: Hardware,
    /// Pauses.
    pub patience: Patience,
}

/// All of them.
#[derive(Debug)]
pub struct Clients {
    settings: Settings,
    entropy: Entropy,
    all: BTreeMap<NamespacedName, Client>,
    /// Leases that were given back, or have ended.
    released: BTreeSet<NamespacedName>,
    served: BTreeSet<Ipv4Addr>,
    frames: Vec<(Link, Vec<u8>)>,
}

impl Clients {
    /// Without any. `seed` is nobody's to foresee.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            entropy: Entropy::new(seed),
            all: BTreeMap::new(),
            released: BTreeSet::new(),
            served: BTreeSet::new(),
            frames: Vec::new(),
        }
    }

    /// When [`Clients::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.all.values().filter_map(|client| client.machine.poll_timeout()).min()
    }

    /// Where frames are to be heard.
    pub fn links(&self) -> BTreeSet<Link> {
        self.all.values().filter_map(|client| Some(client.place.as_ref()?.link)).collect()
    }

    /// Frames to send since this was asked last, and where.
    pub fn take_frames(&mut self) -> Vec<(Link, Vec<u8>)> {
        std::mem::take(&mut self.frames)
    }

    /// Takes over what is wanted.
    pub fn handle_wanted(&mut self, wanted: &Wanted, now: Instant, moment: Timestamp) {
        self.served.clone_from(&wanted.served);
        self.released.retain(|lb| matches!(wanted.wishes.get(lb), Some(Wish::Release(_))));
        for (lb, wish) in &wanted.wishes {
            match wish {
                Wish::Keep { place, stored } => {
                    let left = place.as_ref().ok().and_then(|place| self.take_up(lb, place, &wanted.wishes));
                    self.keep(lb, place.as_ref().ok(), (stored.as_ref(), left.as_ref()), now, moment);
                    if let Some(client) = self.all.get_mut(lb) {
                        client.nowhere = place.as_ref().err().cloned();
                    }
                }
                Wish::Release(stored) => self.release(lb, stored, now, moment),
            }
        }
        self.give_back_what_is_not_stored(&wanted.wishes, now);
        for client in self.all.values_mut() {
            client.leave_what_is_served(&self.served, now);
        }
        self.carry_out(now, moment);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, moment: Timestamp) {
        for client in self.all.values_mut() {
            client.machine.handle_timeout(now);
        }
        self.carry_out(now, moment);
    }

    /// Takes a frame that was heard.
    pub fn handle_frame(&mut self, link: Link, frame: &[u8], now: Instant, moment: Timestamp) {
        match frame::decode(frame) {
            Some(Heard::Reply(reply, from)) => self.handle_reply(link, &reply, from, now),
            Some(Heard::Arp(arp)) => self.handle_arp(link, &arp, now),
            None => return,
        }
        self.carry_out(now, moment);
    }

    /// Learns at which links nothing can be said, and why; at all others it can.
    pub fn handle_silence(&mut self, silent: &BTreeMap<Link, String>) {
        for client in self.all.values_mut() {
            client.hear_of(silent);
        }
    }

    /// How it goes with all of them.
    pub fn facts(&self) -> Facts {
        let clients = self.all.iter().map(|(lb, client)| (lb.clone(), client.state()));
        let released = self.released.iter().map(|lb| {
            let state = State { phase: Phase::Released, is_held: false, lease: None, problem: None };
            (lb.clone(), state)
        });
        clients.chain(released).collect()
    }

    fn keep(
        &mut self,
        lb: &NamespacedName,
        place: Option<&Place>,
        (mut stored, left): (Option<&Stored>, Option<&Lease>),
        now: Instant,
        moment: Timestamp,
    ) {
        if let Some(client) = self.all.get_mut(lb) {
            client.leaves = false;
            // An interface that is gone for a while keeps its clients.
            let Some(place) = place else { return };
            if !client.is_elsewhere(place) {
                client.go_on_at(place, identity(lb, self.settings.hardware, place.mac), now);
                return;
            }
            tracing::info!(load_balancer = %lb, "another network: its address is left");
            if let Some(client) = self.all.remove(lb) {
                let key = client.network().map_or_else(|| lb.clone(), |network| left::key(lb, network));
                self.give_back(&key, client, stored, now);
            }
            stored = None;
        }
        let is_foreign = |stored: &&Stored| place.is_some_and(|place| !stored.lease.is_of(place));
        if let Some(foreign) = stored.filter(is_foreign) {
            tracing::info!(load_balancer = %lb, "a lease of another network: it is left");
            let key = left::key(lb, foreign.lease.network());
            let earlier = self.client(&key, foreign.place.as_ref(), Some(&foreign.lease), now, moment);
            self.give_back(&key, earlier, Some(foreign), now);
            stored = None;
        }
        let lease = stored.map(|stored| &stored.lease).or(left);
        let client = self.client(lb, place, lease, now, moment);
        self.all.insert(lb.clone(), client);
    }

    fn client(
        &mut self,
        lb: &NamespacedName,
        place: Option<&Place>,
        stored: Option<&Lease>,
        now: Instant,
        moment: Timestamp,
    ) -> Client {
        let (patience, entropy) = (self.settings.patience, self.entropy.fork());
        let granted = stored.and_then(|stored| stored.granted(now, moment));
        let machine = match granted {
            Some(granted) => Machine::resume(patience, entropy, granted, now),
            None => Machine::new(patience, entropy, stored.map(|stored| stored.address), now),
        };
        let mac = place.map_or(Mac::default(), |place| place.mac);
        Client {
            place: place.cloned(),
            nowhere: None,
            mute: None,
            leaves: false,
            identity: identity(lb, self.settings.hardware, mac),
            machine,
            granted,
            lease: stored.cloned(),
        }
    }

    fn handle_reply(&mut self, link: Link, reply: &Reply, from: Mac, now: Instant) {
        let claims: Vec<(NamespacedName, Ipv4Addr)> = self
            .all
            .iter()
            .filter_map(|(lb, client)| Some((lb.clone(), client.machine.claimed()?)))
            .collect();
        for (lb, client) in self.all.iter_mut().filter(|(_, client)| client.is_meant(link, reply)) {
            // A network may be the same behind another interface: what it left there is not another's.
            let is_taken = |address| {
                claims
                    .iter()
                    .any(|(other, claimed)| left::owner(other) != left::owner(lb) && *claimed == address)
            };
            client.machine.handle_reply(reply, from, is_taken, now);
            client.leave_what_is_served(&self.served, now);
        }
    }

    fn handle_arp(&mut self, link: Link, arp: &Arp, now: Instant) {
        for client in self.all.values_mut() {
            if client.place.as_ref().is_some_and(|place| place.link == link && place.mac != arp.sender) {
                client.machine.handle_arp(arp, now);
            }
        }
    }

    fn carry_out(&mut self, now: Instant, moment: Timestamp) {
        for (lb, client) in &mut self.all {
            client.send(&mut self.frames);
            client.follow(lb, now, moment);
        }
        // Lent to another one since: a clock that is set back would make it look like both's.
        let held: BTreeSet<Ipv4Addr> =
            self.all.values().filter_map(|client| Some(client.granted?.address)).collect();
        for client in self.all.values_mut() {
            client.forget_what_others_have(&held);
        }
        self.forget_what_is_over();
    }
}

#[cfg(test)]
pub(crate) mod tests;
