//! A lease as a machine holds it: what was granted, and the moments that follow from it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lb_common::net::Mac;

use super::super::message::{Reply, Term};
use super::entropy::Entropy;

/// Whoever is asked for nothing by its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Server {
    /// Its identifier, an address.
    pub address: Ipv4Addr,
    /// Where its messages came from: itself, or the relay or router before it.
    pub mac: Mac,
}

/// An address that was lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The address.
    pub address: Ipv4Addr,
    /// By whom.
    pub server: Server,
    /// The network's mask.
    pub mask: Option<Ipv4Addr>,
    /// The network's router.
    pub router: Option<Ipv4Addr>,
    /// For how long; `None` is for ever.
    pub length: Option<Duration>,
    /// When the server is asked to extend it; `None` is never.
    pub renew_at: Option<Instant>,
    /// When any server is asked.
    pub rebind_at: Option<Instant>,
    /// From when on it is somebody else's.
    pub expires_at: Option<Instant>,
}

/// Answers to renewals are spread over this part of the time before them.
const SPREAD: u32 = 16;

impl Granted {
    /// What a server granted to whom asked at `asked`; `None` where it left out what it must say.
    ///
    /// The lease began before the answer came, but not before it was asked for: who counts from there never uses
    /// the address for too long (RFC 2131 section 4.4.1).
    pub(super) fn read(reply: &Reply, server: Server, asked: Instant, entropy: &mut Entropy) -> Option<Self> {
        let address = reply.address.filter(|address| is_host(*address))?;
        let (mut renew_at, mut rebind_at, mut expires_at) = (None, None, None);
        let length = reply.lease?.finite();
        if let Some(length) = length.filter(|length| !length.is_zero()) {
            let before = |limit: Duration| move |term: &Duration| !term.is_zero() && *term < limit;
            let default = length.saturating_mul(7) / 8;
            let rebind = reply.rebind.and_then(Term::finite).filter(before(length)).unwrap_or(default);
            let renew = reply.renew.and_then(Term::finite).filter(before(rebind));
            let renew = renew.unwrap_or_else(|| (length / 2).min(rebind / 2 + rebind / 16));
            renew_at = asked.checked_add(renew.saturating_sub(entropy.below(renew / SPREAD)));
            rebind_at = asked.checked_add(rebind);
            expires_at = asked.checked_add(length);
        } else if length.is_some() {
            return None;
        }
        let (mask, router) = (reply.mask, reply.router);
        Some(Self { address, server, mask, router, length, renew_at, rebind_at, expires_at })
    }

    /// Whether it is somebody else's now.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}
