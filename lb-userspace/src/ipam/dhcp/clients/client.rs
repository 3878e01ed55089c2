//! One client: a machine, where it speaks, and what is stored of its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use jiff::Timestamp;

use crate::ipam::dhcp::frame::{self, Envelope};
use crate::ipam::dhcp::machine::{Command, Granted, Machine};
use crate::ipam::dhcp::message::{Identity, Reply};
use crate::ipam::dhcp::model::{Lease, Link, Place, State, Stored};
use crate::ipam::dhcp::wire;
use crate::model::meta::NamespacedName;

#[derive(Debug)]
pub(super) struct Client {
    /// Where it speaks; `None` until there is such an interface.
    pub(super) place: Option<Place>,
    /// Why it can't ask anywhere now.
    pub(super) nowhere: Option<String>,
    /// Why nothing that it says gets out now.
    pub(super) mute: Option<String>,
    /// Nobody wants its address any more; there is no interface yet to say so.
    pub(super) leaves: bool,
    pub(super) identity: Identity,
    pub(super) machine: Machine,
    /// The lease of which `lease` tells.
    pub(super) granted: Option<Granted>,
    pub(super) lease: Option<Lease>,
}

impl Client {
    pub(super) fn is_meant(&self, link: Link, reply: &Reply) -> bool {
        self.place.as_ref().is_some_and(|place| place.link == link)
            && self.identity.hardware == reply.hardware
            && reply.client_id.as_ref().is_none_or(|id| *id == self.identity.client_id)
    }

    /// Whether `place` is in another network than the one that it speaks in, or than that of its lease.
    pub(super) fn is_elsewhere(&self, place: &Place) -> bool {
        self.network().is_some_and(|own| own != place.network())
    }

    /// The interface and the VLAN that it speaks in, or that its lease was obtained in.
    pub(super) fn network(&self) -> Option<(&str, u16)> {
        self.place.as_ref().map(Place::network).or_else(|| self.lease.as_ref().map(Lease::network))
    }

    /// Whether its server can't be told yet that the lease is given back, and may once be. One without an end can't
    /// be waited for: its address would be nobody's for ever.
    pub(super) fn is_told_later(&self) -> bool {
        let ends = self.machine.held().is_some_and(|granted| granted.expires_at.is_some());
        ends && self.place.is_none()
    }

    /// Speaks where its lease was obtained: it may be another interface of that name by now, or none.
    pub(super) fn speak_where_it_was_lent(&mut self, stored: &Stored, identity: impl Fn(&Place) -> Identity) {
        match &stored.place {
            Some(place) => self.speak_at(place, identity(place)),
            None => self.place = None,
        }
    }

    /// Speaks there from now on.
    pub(super) fn speak_at(&mut self, place: &Place, identity: Identity) {
        self.identity = identity;
        self.place = Some(place.clone());
    }

    /// Speaks there as its network goes on: behind another MAC, the address is announced.
    pub(super) fn go_on_at(&mut self, place: &Place, identity: Identity, now: Instant) {
        let has_moved = self.place.as_ref().is_some_and(|before| before.mac != place.mac);
        self.speak_at(place, identity);
        if has_moved {
            self.machine.announce(now);
        }
    }

    /// Learns at which links nothing can be said, and why.
    pub(super) fn hear_of(&mut self, silent: &BTreeMap<Link, String>) {
        let why = self.place.as_ref().and_then(|place| Some((&place.interface, silent.get(&place.link)?)));
        self.mute = why.map(|(interface, error)| format!("nothing can be sent on {interface}: {error}"));
    }

    /// Leaves an address that this node answers for without a lease.
    pub(super) fn leave_what_is_served(&mut self, served: &BTreeSet<Ipv4Addr>, now: Instant) {
        if self.machine.claimed().is_some_and(|address| served.contains(&address)) {
            self.machine.handle_overlap(now);
        }
    }

    /// Without an address, asks for none that another load balancer has by now.
    pub(super) fn forget_what_others_have(&mut self, held: &BTreeSet<Ipv4Addr>) {
        if self.granted.is_none() && self.lease.as_ref().is_some_and(|lease| held.contains(&lease.address)) {
            self.machine.forget();
            self.lease = None;
        }
    }

    /// Puts what is to be said into frames.
    pub(super) fn send(&mut self, frames: &mut Vec<(Link, Vec<u8>)>) {
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
    pub(super) fn follow(&mut self, lb: &NamespacedName, now: Instant, moment: Timestamp) {
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
        } else if !self.leaves {
            let problem = self.machine.problem().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(load_balancer = %lb, "the address is lost: {problem}");
        }
        self.granted = held;
        // What was refused is not asked for again.
        let remembered = self.machine.remembered();
        self.lease = self.lease.take().filter(|lease| Some(lease.address) == remembered);
    }

    pub(super) fn state(&self) -> State {
        let trouble = self.nowhere.as_ref().or(self.mute.as_ref()).cloned();
        State {
            phase: self.machine.phase(),
            is_held: self.granted.is_some() && !self.leaves,
            lease: self.lease.clone(),
            problem: trouble.or_else(|| self.machine.problem().map(ToString::to_string)),
        }
    }
}
