//! A DHCP server in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::ipam::dhcp::wire::tests::{Asked, answer};
use lb_common::net::Mac;

/// Where its messages come from.
pub(crate) const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// It lends 192.0.2.100 to 109.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// For how long, in seconds.
pub(crate) const LEASE: u64 = 60;

/// A server that keys leases by client identifier, as RFC 2131 has it.
#[derive(Default)]
pub(crate) struct Server {
    /// Until when, by client.
    pub(crate) leases: BTreeMap<Vec<u8>, (Ipv4Addr, Instant)>,
    /// Addresses that clients found in use.
    pub(crate) declined: BTreeSet<Ipv4Addr>,
    /// It answers nobody.
    pub(crate) is_gone: bool,
}

impl Server {
    fn free(&self, now: Instant) -> Option<Ipv4Addr> {
        let is_lent = |address| self.leases.values().any(|(lent, end)| *lent == address && *end > now);
        (100..=109)
            .map(|host| Ipv4Addr::new(192, 0, 2, host))
            .find(|address| !is_lent(*address) && !self.declined.contains(address))
    }

    /// The answer to a message, which may be none.
    pub(crate) fn answer(&mut self, asked: &Asked, now: Instant) -> Option<Vec<u8>> {
        if self.is_gone {
            return None;
        }
        let own =
            self.leases.get(&asked.client_id).filter(|(_, end)| *end > now).map(|(address, _)| *address);
        let (kind, address) = match asked.kind {
            1 => (2, own.or_else(|| self.free(now))?),
            3 => {
                let wanted = asked.requested.or(asked.using)?;
                let is_free = self.free_of(wanted, &asked.client_id, now);
                if own.is_none_or(|own| own == wanted) && is_free {
                    (5, wanted)
                } else {
                    (6, Ipv4Addr::UNSPECIFIED)
                }
            }
            4 => {
                self.declined.extend(asked.requested);
                self.leases.remove(&asked.client_id);
                return None;
            }
            _ => {
                self.leases.remove(&asked.client_id);
                return None;
            }
        };
        if kind == 5 {
            self.leases.insert(asked.client_id.clone(), (address, now + Duration::from_secs(LEASE)));
        }
        let lease = u32::try_from(LEASE).unwrap().to_be_bytes();
        Some(answer(asked, MAC, kind, address, ADDRESS, lease))
    }

    fn free_of(&self, wanted: Ipv4Addr, client: &[u8], now: Instant) -> bool {
        !self.declined.contains(&wanted)
            && !self
                .leases
                .iter()
                .any(|(other, (lent, end))| other != client && *lent == wanted && *end > now)
    }
}
