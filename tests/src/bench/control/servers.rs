//! What answers the probes: one socket for all VMs of steady health, which notes when each was probed, and one for
//! each of the others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{Backlog, listen as listen_again};

use super::size::{FICKLE, STEADY};
use crate::lab::namespace::Namespace;

/// When VMs of steady health were probed.
pub(super) struct Probes {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    awake: Option<TcpListener>,
    vms: Namespace,
}

#[derive(Default)]
struct Seen {
    last: HashMap<IpAddr, Instant>,
    intervals: Vec<Duration>,
}

impl Probes {
    /// Answers at all addresses.
    pub(super) fn answer(vms: &Namespace) -> Result<Self> {
        let listener = vms.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, STEADY)))?.context("listen")?;
        // Each VM has a queue of its own; all that are here share one.
        listen_again(&listener, Backlog::MAXCONN).context("lengthen the queue")?;
        let awake = listener.try_clone().context("share the socket")?;
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (noted, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::Builder::new().name("probes".to_owned()).spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(address) = connection.local_addr() {
                    note(&mut noted.lock().unwrap_or_else(PoisonError::into_inner), address.ip());
                }
            }
        });
        let thread = Some(thread.context("start a thread")?);
        Ok(Self { seen, stop, thread, awake: Some(awake), vms: vms.clone() })
    }

    /// The times from probe to probe, of all VMs, since this was asked last.
    pub(super) fn take_intervals(&self) -> Vec<Duration> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut seen.intervals)
    }
}

fn note(seen: &mut Seen, address: IpAddr) {
    let now = Instant::now();
    if let Some(last) = seen.last.insert(address, now) {
        seen.intervals.push(now - last);
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // One more connection wakes the thread; without it, the thread would outlive this.
        let dial = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, STEADY));
        if matches!(self.vms.enter(dial), Ok(Ok(_)))
            && let Some(thread) = self.thread.take()
        {
            drop(thread.join());
        }
        drop(self.awake.take());
    }
}

/// The VMs whose health changes: those that answer.
pub(super) struct Fickle {
    vms: Namespace,
    listening: HashMap<Ipv4Addr, TcpListener>,
}

impl Fickle {
    /// All answer.
    pub(super) fn answer(vms: &Namespace, addresses: &[Ipv4Addr]) -> Result<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("ask for the limit of files")?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the limit of files")?;
        let listening: std::io::Result<HashMap<_, _>> =
            vms.enter(|| addresses.iter().map(|address| Ok((*address, listen(*address)?))).collect())?;
        Ok(Self { vms: vms.clone(), listening: listening.context("listen")? })
    }

    /// A VM that answers ceases to, one that does not begins to. Nobody takes its connections: the socket's queue
    /// has room for those of a run.
    pub(super) fn flip(&mut self, address: Ipv4Addr) -> Result<()> {
        if self.listening.remove(&address).is_none() {
            let listener = self.vms.enter(|| listen(address))?.context("listen")?;
            self.listening.insert(address, listener);
        }
        Ok(())
    }
}

fn listen(address: Ipv4Addr) -> std::io::Result<TcpListener> {
    TcpListener::bind((address, FICKLE))
}
