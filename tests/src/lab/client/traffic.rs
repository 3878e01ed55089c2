//! Requests that go on in the background while something else happens.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::http::{Tally, ask};
use crate::lab::namespace::Namespace;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was sent.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// The name of the VM that answered, or what went wrong.
    pub outcome: Result<String, String>,
}

/// A client that asks again and again, one request at a time.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    requests: Mutex<Vec<Request>>,
}

impl Traffic {
    /// Starts asking, every `interval` or, if answers take longer, one after the other.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(client: &Namespace, server: SocketAddr, interval: Duration) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (client, theirs) = (client.clone(), Arc::clone(&shared));
        let name = thread::current().name().unwrap_or("traffic").to_owned();
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || client.enter(|| run(&theirs, server, interval)))
            .context("start a thread")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The requests so far that are over.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().map(|requests| requests.clone()).unwrap_or_default()
    }

    /// The name of the last VM that answered, and when it was asked.
    pub fn answered_since(&self, vm: &str, since: Instant) -> Option<Request> {
        self.requests()
            .into_iter()
            .rev()
            .find(|request| request.at >= since && request.outcome.as_deref() == Ok(vm))
    }

    /// Stops asking and returns all requests.
    ///
    /// # Errors
    /// When the client could not ask at all.
    pub fn stop(mut self) -> Result<Vec<Request>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the client's thread")?;
        thread.join().map_err(|_| anyhow!("the client panicked"))??;
        Ok(self.requests())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Sums requests up.
pub fn tally(requests: &[Request]) -> Tally {
    let mut tally = Tally::default();
    for request in requests {
        tally.count(request.outcome.clone().map_err(std::io::Error::other));
    }
    tally
}

fn run(shared: &Shared, server: SocketAddr, interval: Duration) {
    /// Longer than three retransmissions of a lost SYN or segment: a loss delays, it does not fail.
    const PATIENCE: Duration = Duration::from_secs(8);
    while !shared.stop.load(Ordering::Relaxed) {
        let at = Instant::now();
        let outcome = ask(server, PATIENCE).map_err(|error| error.to_string());
        let took = at.elapsed();
        if let Ok(mut requests) = shared.requests.lock() {
            requests.push(Request { at, took, outcome });
        }
        thread::sleep(interval.saturating_sub(took));
    }
}
