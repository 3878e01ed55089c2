//! Places for probes under way: each takes an open file. Probes of servers that were slow the last time use but
//! three quarters of the places, so that thousands that hang do not delay those that answer.

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};

/// There are never fewer places.
const MIN_PLACES: usize = 64;
/// There are never more: their sockets are memory of the kernel.
const MAX_PLACES: usize = 49_152;

/// The places. Who waits for one gets it in the order of asking.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    all: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// A place, until it is dropped.
pub(super) struct Place<'a> {
    _slow: Option<SemaphorePermit<'a>>,
    _any: Option<SemaphorePermit<'a>>,
}

impl Lanes {
    /// With this many places.
    pub(super) fn new(places: usize) -> Self {
        let slow = (places * 3 / 4).max(1);
        Self { all: Arc::new(Semaphore::new(places)), slow: Arc::new(Semaphore::new(slow)) }
    }

    /// With three quarters of the files that this process may open, of which it takes as many as it is allowed.
    pub(super) fn of_process() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, hard)| {
            match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                Ok(()) => hard,
                Err(_) => soft,
            }
        });
        let places = usize::try_from(files / 4 * 3).unwrap_or(MAX_PLACES);
        Self::new(places.clamp(MIN_PLACES, MAX_PLACES))
    }

    /// Waits for a place.
    pub(super) async fn place(&self, is_slow: bool) -> Place<'_> {
        // They are never closed, so there is always a permit in the end.
        let slow = if is_slow { self.slow.acquire().await.ok() } else { None };
        Place { _slow: slow, _any: self.all.acquire().await.ok() }
    }
}
