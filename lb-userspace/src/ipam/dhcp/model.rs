//! What the clients are told, and what they tell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lb_common::net::Mac;
use serde::{Deserialize, Serialize};

use super::left;
use super::machine::{Granted, Phase, Server};
use super::message::Identity;
use crate::model::meta::NamespacedName;

/// Where frames of a client are sent and heard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Link {
    /// The interface's index.
    pub ifindex: u32,
    /// The VLAN; 0 is none.
    pub vlan: u16,
}

/// An interface, and the VLAN behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The interface's name.
    pub interface: String,
    /// The interface's MAC, which answers ARP for the VIPs.
    pub mac: Mac,
    /// Its index, and the VLAN.
    pub link: Link,
}

impl Place {
    /// The interface's name and the VLAN, which outlive its index.
    pub fn network(&self) -> (&str, u16) {
        (&self.interface, self.link.vlan)
    }
}

/// What is wanted for one load balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// An address.
    Keep {
        /// Where, or why nowhere.
        place: Result<Place, String>,
        /// What is stored of its lease.
        stored: Option<Stored>,
    },
    /// None any more: what is stored of its lease is given back.
    Release(Stored),
}

/// What is stored of a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The lease.
    pub lease: Lease,
    /// Where it was obtained; `None` while there is no such interface, or it is down.
    pub place: Option<Place>,
}

/// What is wanted of all clients.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Wanted {
    /// By load balancer, or by the key of a lease that one has left ([`left::key`]).
    pub wishes: BTreeMap<NamespacedName, Wish>,
    /// Addresses that this node answers for without a lease: none of them can be borrowed.
    pub served: BTreeSet<Ipv4Addr>,
}

/// Whose MAC messages carry.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Hardware {
    /// The interface's.
    #[default]
    Interface,
    /// One for each load balancer, made of its name: for servers that tell clients apart by nothing else.
    Derived,
}

/// How a load balancer introduces itself.
pub fn identity(lb: &NamespacedName, hardware: Hardware, interface: Mac) -> Identity {
    /// The longest label of a host name.
    const LONGEST: usize = 63;
    let lb = &left::owner(lb);
    let mut host_name = format!("{}-{}", lb.namespace, lb.name);
    host_name.truncate(LONGEST);
    let mut client_id = vec![0];
    client_id.extend(lb.to_string().into_bytes());
    let (hardware, broadcast) = match hardware {
        Hardware::Interface => (interface, false),
        Hardware::Derived => (derived(&lb.to_string()), true),
    };
    Identity { client_id, host_name, hardware, broadcast }
}

/// A MAC of those that nobody sells (locally administered), by FNV-1a.
fn derived(name: &str) -> Mac {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [_, _, a, b, c, d, e, f] = hash.to_be_bytes();
    Mac([a & 0xfc | 2, b, c, d, e, f])
}

/// A lease as it is stored. Moments are milliseconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Who lent it.
    pub server: Ipv4Addr,
    /// Where its messages came from.
    pub server_mac: [u8; 6],
    /// The network's mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Ipv4Addr>,
    /// The network's router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Ipv4Addr>,
    /// The interface that it was obtained on.
    pub interface: String,
    /// The VLAN that it was obtained in; 0 is none.
    pub vlan: u16,
    /// For how long it was lent, in milliseconds; `None` is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// When the server is asked to extend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<i64>,
    /// When any server is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebind_at: Option<i64>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl Lease {
    /// From what a machine holds. `now` and `moment` are the same.
    pub fn of(granted: &Granted, place: &Place, now: Instant, moment: Timestamp) -> Self {
        let at = |instant: Instant| {
            let left = millis(instant.saturating_duration_since(now));
            moment.as_millisecond().saturating_add(left)
        };
        Self {
            address: granted.address,
            server: granted.server.address,
            server_mac: granted.server.mac.0,
            mask: granted.mask,
            router: granted.router,
            interface: place.interface.clone(),
            vlan: place.link.vlan,
            length: granted.length.map(|length| length.as_secs().saturating_mul(1000)),
            renew_at: granted.renew_at.map(at),
            rebind_at: granted.rebind_at.map(at),
            expires_at: granted.expires_at.map(at),
        }
    }

    /// As a machine holds it; `None` if it is over. A clock that was set back gives it no more time than it was
    /// lent for.
    pub fn granted(&self, now: Instant, moment: Timestamp) -> Option<Granted> {
        let length = self.length.map(Duration::from_millis);
        let at = |stored: i64| {
            let left = u64::try_from(stored.saturating_sub(moment.as_millisecond())).unwrap_or(0);
            let left = Duration::from_millis(left);
            now.checked_add(length.map_or(left, |length| left.min(length)))
        };
        if self.is_over(moment) {
            return None;
        }
        let expires_at = match self.expires_at {
            Some(end) => Some(at(end)?),
            None => None,
        };
        Some(Granted {
            address: self.address,
            server: Server { address: self.server, mac: Mac(self.server_mac) },
            mask: self.mask,
            router: self.router,
            length,
            renew_at: self.renew_at.and_then(at),
            rebind_at: self.rebind_at.and_then(at),
            expires_at,
        })
    }

    /// Whether the address is somebody else's now.
    pub fn is_over(&self, moment: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= moment.as_millisecond())
    }

    /// The interface and the VLAN that it was obtained in.
    pub fn network(&self) -> (&str, u16) {
        (&self.interface, self.vlan)
    }

    /// Whether it was obtained there.
    pub fn is_of(&self, place: &Place) -> bool {
        self.network() == place.network()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// How it goes with one load balancer's lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Where the client is.
    pub phase: Phase,
    /// Whether the address of `lease` may be used now.
    pub is_held: bool,
    /// What is to be stored: the lease that there is, or was and may be asked for again.
    pub lease: Option<Lease>,
    /// What is wrong, in words.
    pub problem: Option<String>,
}

impl State {
    /// The address that may be used now.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.lease.as_ref().filter(|_| self.is_held).map(|lease| lease.address)
    }
}

/// How it goes with all leases, by load balancer, or by the key of a lease that one has left ([`left::key`]).
pub type Facts = BTreeMap<NamespacedName, State>;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of 192.0.2.9, for a minute from 1970 on.
    pub(crate) fn lease() -> Lease {
        Lease {
            address: [192, 0, 2, 9].into(),
            server: [192, 0, 2, 1].into(),
            server_mac: [2, 0, 0, 0, 0, 1],
            mask: Some([255, 255, 255, 0].into()),
            router: None,
            interface: "eth0".to_owned(),
            vlan: 7,
            length: Some(60_000),
            renew_at: Some(30_000),
            rebind_at: Some(52_500),
            expires_at: Some(60_000),
        }
    }

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    #[test]
    fn a_lease_goes_on_after_a_restart_with_the_time_that_is_left() {
        let now = Instant::now();
        let granted = lease().granted(now, at(40_000)).unwrap();
        assert_eq!(granted.renew_at, Some(now));
        assert_eq!(granted.rebind_at, Some(now + Duration::from_millis(12_500)));
        assert_eq!(granted.expires_at, Some(now + Duration::from_secs(20)));
        let link = Link { ifindex: 3, vlan: 7 };
        let place = Place { interface: "eth0".to_owned(), mac: Mac::default(), link };
        let again = Lease::of(&granted, &place, now, at(40_000));
        assert_eq!(again, Lease { renew_at: Some(40_000), ..lease() });
    }

    #[test]
    fn a_clock_that_jumps_never_lengthens_a_lease() {
        let now = Instant::now();
        assert_eq!(lease().granted(now, at(60_000)), None);
        assert_eq!(lease().granted(now, at(1_000_000_000)), None);
        let set_back = lease().granted(now, at(-1_000_000_000)).unwrap();
        assert_eq!(set_back.expires_at, Some(now + Duration::from_mins(1)));
    }

    #[test]
    fn an_endless_lease_stays_so() {
        let endless = Lease { length: None, renew_at: None, rebind_at: None, expires_at: None, ..lease() };
        let granted = endless.granted(Instant::now(), at(1_000_000_000)).unwrap();
        assert_eq!((granted.expires_at, granted.renew_at), (None, None));
    }

    #[test]
    fn load_balancers_introduce_themselves_by_their_names() {
        let nic = Mac([2, 0, 0, 0, 0, 7]);
        let front = NamespacedName::new("shop", "front");
        let by_nic = identity(&front, Hardware::Interface, nic);
        assert_eq!(
            (by_nic.client_id.as_slice(), by_nic.host_name.as_str()),
            (&b"\0shop/front"[..], "shop-front")
        );
        assert_eq!((by_nic.hardware, by_nic.broadcast), (nic, false));
        let mac = |name: &str| identity(&NamespacedName::new("shop", name), Hardware::Derived, nic).hardware;
        assert_eq!(mac("front"), mac("front"));
        assert_ne!(mac("front"), mac("back"));
        assert_eq!(mac("front").0[0] & 3, 2, "locally administered, one station");
        let long = NamespacedName::new("n".repeat(63), "l".repeat(63));
        assert_eq!(identity(&long, Hardware::Derived, nic).host_name.len(), 63);
    }
}
