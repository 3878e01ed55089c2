//! Connections at once: so many in all, and a share of them for each address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places, shared by all connections.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    of_one: usize,
    taken: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: IpAddr,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// `all` of them, and no more than `of_one` for one address.
    pub(super) fn new(all: usize, of_one: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(all)), of_one, taken: Mutex::default() })
    }

    /// Waits until there is a place for anybody.
    pub(super) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// A place for an address; `None` if it has its share.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let of = neighbourhood(address);
        let mut taken = self.taken();
        let count = taken.entry(of).or_default();
        if *count >= self.of_one {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { of, places: Arc::clone(self), _permit: permit })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // A count is one word: a panic leaves none half written.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

/// Whom an address stands for: with IPv6, everybody has at least a /64.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_its_share_and_leaves_the_rest_to_others() {
        let places = Places::new(3, 2);
        let take = async |address: &str| {
            let permit = places.wait().await.unwrap();
            places.take(address.parse().unwrap(), permit)
        };
        let first = take("2001:db8::1").await;
        assert!(first.is_some());
        let second = take("2001:db8::2").await;
        assert!(take("2001:db8::3").await.is_none(), "one network is one peer");
        let other = take("192.0.2.1").await;
        assert!(second.is_some() && other.is_some());
        assert_eq!(places.free.available_permits(), 0);
        drop(first);
        assert!(take("2001:db8::3").await.is_some());
        drop((second, other));
        assert!(places.taken().is_empty() && places.free.available_permits() == 3);
    }
}
