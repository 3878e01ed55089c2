//! All clients of a node: who hears which frame, and what each has.
//!
//! Pure: no clock, no sockets. `now` and `moment` are the same time on the clock that only runs and on the wall's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use jiff::Timestamp;

use super::frame::{self, Arp, Envelope, Heard};
use super::machine::{Command, Entropy, Granted, Machine, Patience, Phase};
use super::message::{Identity, Reply};
use super::model::{Facts, Hardware, Lease, Link, Place, State, Wanted, Wish, identity};
use super::wire;
use crate::model::meta::NamespacedName;
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
    /// Leases that were given back.
    released: BTreeSet<NamespacedName>,
    served: BTreeSet<Ipv4Addr>,
    frames: Vec<(Link, Vec<u8>)>,
}

#[derive(Debug)]
struct Client {
    place: Option<Place>,
    /// Why it can't ask anywhere now.
    nowhere: Option<String>,
    identity: Identity,
    machine: Machine,
    /// The lease of which `lease` tells.
    granted: Option<Granted>,
    lease: Option<Lease>,
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
        self.released.retain(|lb| matches!(wanted.wishes.get(lb), Some(Wish::Release { .. })));
        for (lb, wish) in &wanted.wishes {
            match wish {
                Wish::Keep { place, stored } => {
                    self.keep(lb, place.as_ref().ok(), stored.as_ref(), now, moment);
                    if let Some(client) = self.all.get_mut(lb) {
                        client.nowhere = place.as_ref().err().cloned();
                    }
                }
                Wish::Release { place, stored } => self.release(lb, place.as_ref(), stored, now, moment),
            }
        }
        // What was lent so lately that it is not stored yet is given back, too.
        let frames = &mut self.frames;
        self.all.retain(|lb, client| {
            let stays = wanted.wishes.contains_key(lb);
            if !stays {
                client.machine.release(now);
                client.send(frames);
            }
            stays
        });
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
        stored: Option<&Lease>,
        now: Instant,
        moment: Timestamp,
    ) {
        if let Some(client) = self.all.get_mut(lb) {
            let moved = |(old, new): (&Place, &Place)| {
                (&old.interface, old.link.vlan) != (&new.interface, new.link.vlan)
            };
            if !client.place.as_ref().zip(place).is_some_and(moved) {
                // An interface that is gone for a while keeps its clients.
                if let Some(place) = place {
                    client.identity = identity(lb, self.settings.hardware, place.mac);
                    client.place = Some(place.clone());
                }
                return;
            }
            tracing::info!(load_balancer = %lb, "another network: its address is given back");
            client.machine.release(now);
            client.send(&mut self.frames);
        }
        // A lease of another network is of no use in this one.
        let stored = stored.filter(|stored| place.is_none_or(|place| stored.is_of(place)));
        let client = self.client(lb, place, stored, now, moment);
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
            identity: identity(lb, self.settings.hardware, mac),
            machine,
            granted,
            lease: stored.cloned(),
        }
    }

    fn release(
        &mut self,
        lb: &NamespacedName,
        place: Option<&Place>,
        stored: &Lease,
        now: Instant,
        moment: Timestamp,
    ) {
        if self.released.contains(lb) {
            return;
        }
        let mut client = match self.all.remove(lb) {
            Some(client) => client,
            None => self.client(lb, place, Some(stored), now, moment),
        };
        // What a client that has just been made has to say is of no account.
        while client.machine.next_command().is_some() {}
        client.machine.release(now);
        client.send(&mut self.frames);
        tracing::info!(load_balancer = %lb, address = %stored.address, server = %stored.server, "given back");
        self.released.insert(lb.clone());
    }

    fn handle_reply(&mut self, link: Link, reply: &Reply, from: Mac, now: Instant) {
        let claims: Vec<(NamespacedName, Ipv4Addr)> = self
            .all
            .iter()
            .filter_map(|(lb, client)| Some((lb.clone(), client.machine.claimed()?)))
            .collect();
        for (lb, client) in self.all.iter_mut().filter(|(_, client)| client.is_meant(link, reply)) {
            let is_taken = |address| claims.iter().any(|(other, claimed)| other != lb && *claimed == address);
            client.machine.handle_reply(reply, from, is_taken, now);
            if client.machine.claimed().is_some_and(|address| self.served.contains(&address)) {
                let own = client.place.as_ref().map_or(from, |place| place.mac);
                client.machine.handle_overlap(own, now);
            }
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
    }
}

impl Client {
    fn is_meant(&self, link: Link, reply: &Reply) -> bool {
        self.place.as_ref().is_some_and(|place| place.link == link)
            && self.identity.hardware == reply.hardware
            && reply.client_id.as_ref().is_none_or(|id| *id == self.identity.client_id)
    }

    /// Puts what is to be said into frames.
    fn send(&mut self, frames: &mut Vec<(Link, Vec<u8>)>) {
        while let Some(command) = self.machine.next_command() {
            let Some(Place { mac, link, .. }) = self.place else { continue };
            let frame = match command {
                Command::Send(request, server) => {
                    let to = server.map(|server| (server.address, server.mac));
                    let envelope = Envelope { from_mac: mac, from: request.using, to, vlan: link.vlan };
                    frame::dhcp(&wire::encode(&request, &self.identity), &envelope)
                }
                Command::Probe(address) => frame::probe(address, mac, link.vlan),
                Command::Announce(address) => frame::announcement(address, mac, link.vlan),
            };
            frames.push((link, frame));
        }
    }

    /// Takes over what the machine has come to.
    fn follow(&mut self, lb: &NamespacedName, now: Instant, moment: Timestamp) {
        let held = self.machine.held().copied();
        if held == self.granted {
            return;
        }
        if let (Some(granted), Some(place)) = (&held, &self.place) {
            if self.granted.is_none() {
                let (address, server) = (granted.address, granted.server.address);
                tracing::info!(load_balancer = %lb, %address, %server, length = ?granted.length, "lent");
            }
            self.lease = Some(Lease::of(granted, place, now, moment));
        } else {
            let problem = self.machine.problem().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(load_balancer = %lb, "the address is lost: {problem}");
        }
        self.granted = held;
        // What was refused is not asked for again.
        let remembered = self.machine.remembered();
        self.lease = self.lease.take().filter(|lease| Some(lease.address) == remembered);
    }

    fn state(&self) -> State {
        State {
            phase: self.machine.phase(),
            is_held: self.granted.is_some(),
            lease: self.lease.clone(),
            problem: self.nowhere.clone().or_else(|| self.machine.problem().map(ToString::to_string)),
        }
    }
}

#[cfg(test)]
mod tests;
