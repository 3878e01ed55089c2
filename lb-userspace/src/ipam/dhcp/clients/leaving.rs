//! Leases that nobody wants any more: given back, or remembered until they can be, or have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use jiff::Timestamp;

use super::Clients;
use super::client::Client;
use crate::ipam::dhcp::left;
use crate::ipam::dhcp::model::{Lease, Place, Stored, Wish, identity};
use crate::model::meta::NamespacedName;

impl Clients {
    /// Gives what is stored of a lease back.
    pub(super) fn release(&mut self, lb: &NamespacedName, stored: &Stored, now: Instant, moment: Timestamp) {
        if self.released.contains(lb) {
            return;
        }
        let client = match self.all.remove(lb) {
            Some(client) => client,
            None => self.client(lb, stored.place.as_ref(), Some(&stored.lease), now, moment),
        };
        if self.give_back(lb, client, Some(stored), now) {
            self.released.insert(lb.clone());
        }
    }

    /// Gives back what was lent so lately that it is not stored yet, and is wanted no more. Where its interface is gone,
    /// it is stored as what was left in another network, until it can be told.
    pub(super) fn give_back_what_is_not_stored(
        &mut self,
        wishes: &BTreeMap<NamespacedName, Wish>,
        now: Instant,
    ) {
        // What is left in another network is not stored at once.
        let is_unwanted =
            |lb: &NamespacedName, client: &mut Client| !client.leaves && !wishes.contains_key(lb);
        let unwanted: Vec<_> = self.all.extract_if(.., is_unwanted).collect();
        for (lb, mut client) in unwanted {
            let key = client.network().map_or_else(|| lb.clone(), |network| left::key(&lb, network));
            client.place = client.place.filter(|_| client.nowhere.is_none());
            self.give_back(&key, client, None, now);
        }
    }

    /// Tells a client's server that the address is free, where the lease was obtained. Where there is no interface to
    /// say so, the client is kept as `key` until there is, or its lease has ended: whether nothing is left to do.
    pub(super) fn give_back(
        &mut self,
        key: &NamespacedName,
        mut client: Client,
        stored: Option<&Stored>,
        now: Instant,
    ) -> bool {
        let lb = left::owner(key);
        if let Some(stored) = stored.filter(|stored| client.network() == Some(stored.lease.network())) {
            let identity = |place: &Place| identity(&lb, self.settings.hardware, place.mac);
            client.speak_where_it_was_lent(stored, identity);
        }
        let held = client.machine.held().copied();
        if client.is_told_later() {
            if !client.leaves {
                let (address, interface) =
                    (held.map(|held| held.address), client.network().map(|(name, _)| name));
                tracing::warn!(load_balancer = %lb, ?address, interface, "can't be given back without the interface");
            }
            client.leaves = true;
            self.released.remove(key);
            self.all.insert(key.clone(), client);
            return false;
        }
        // What else it has to say is of no account any more.
        while client.machine.next_command().is_some() {}
        client.machine.release(now);
        let said = self.frames.len();
        client.send(&mut self.frames);
        if let Some(held) = held {
            let (address, server) = (held.address, held.server.address);
            if self.frames.len() > said {
                tracing::info!(load_balancer = %lb, %address, %server, "given back");
            } else {
                let told = "not given back: its interface is gone, and it has no end; free it on the server";
                tracing::warn!(load_balancer = %lb, %address, %server, "{told}");
            }
        }
        true
    }

    /// The lease that `lb` left in the network of `place` and could not give back: it is its own again.
    pub(super) fn take_up(
        &mut self,
        lb: &NamespacedName,
        place: &Place,
        wishes: &BTreeMap<NamespacedName, Wish>,
    ) -> Option<Lease> {
        let key = left::key(lb, place.network());
        let client = self.all.remove(&key);
        let Some(Wish::Release(stored)) = wishes.get(&key) else { return client?.lease };
        // Its record goes; its server has nothing to be told.
        let is_new = self.released.insert(key);
        is_new.then(|| client.and_then(|client| client.lease).unwrap_or_else(|| stored.lease.clone()))
    }

    /// Forgets leases that have ended before they could be given back, or that are their load balancer's again by
    /// way of another interface.
    pub(super) fn forget_what_is_over(&mut self) {
        let own = |(lb, client): (&NamespacedName, &Client)| {
            client.granted.filter(|_| !client.leaves).map(|granted| (lb.clone(), granted.address))
        };
        let own: BTreeSet<(NamespacedName, Ipv4Addr)> = self.all.iter().filter_map(own).collect();
        let is_over = |lb: &NamespacedName, client: &Client| {
            client.granted.is_none_or(|granted| own.contains(&(left::owner(lb), granted.address)))
        };
        let over = self.all.extract_if(.., |lb, client| client.leaves && is_over(lb, client));
        self.released.extend(over.map(|(lb, _)| lb));
    }
}
