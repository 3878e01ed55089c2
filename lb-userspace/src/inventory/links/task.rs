//! Watches the network and keeps the wanted neighbours resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use litemap::LiteMap;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::model::{Addresses, Path, Topology};
use super::socket::{Event, Events, Socket, WatchLinks};
use super::state::{Routes, apply};
use crate::model::sorted::added;

/// How long a burst of notifications is gathered before a snapshot is published: from its first one, or, where that is
/// soon enough, from the last snapshot.
const SETTLE: Duration = Duration::from_millis(20);
/// How long answers of neighbours that were asked for are gathered.
const ANSWERS: Duration = Duration::from_millis(2);
/// How long the kernel may take to resolve a neighbour that has not been asked for before.
const RESOLVE: Duration = Duration::from_secs(1);
/// How often wanted neighbours are used: below the 30 s for which a confirmed one counts as reachable.
const USE_NEIGHBOURS: Duration = Duration::from_secs(15);
/// How often everything is asked for again, whatever was notified.
const RESYNC: Duration = Duration::from_mins(1);

/// The network as it is now.
///
/// # Errors
/// When the kernel can't be asked.
pub async fn snapshot(wanted: &Addresses) -> Result<Topology, WatchLinks> {
    let mut socket = Socket::open()?;
    let mut topology = socket.dump().await?;
    topology.paths = socket.paths(wanted).await?;
    topology.settled.clone_from(wanted);
    Ok(topology)
}

/// Publishes the network's topology whenever it changes, until `stop`.
///
/// # Errors
/// When the kernel can't be asked, or its notifications end.
pub async fn run(
    mut wanted: watch::Receiver<Arc<Addresses>>,
    published: watch::Sender<Arc<Topology>>,
    stop: impl Future<Output = ()>,
) -> Result<(), WatchLinks> {
    // Notifications first: what changes during the dump is not missed.
    let mut events = Events::open()?;
    let mut socket = Socket::open()?;
    let mut topology = Topology { settled: published.borrow().settled.clone(), ..Topology::default() };
    let mut resolving = Resolving::default();
    let now = Instant::now();
    let mut due = Due { resync: true, routes: true, wanted: true, ..Due::after(now, Some(now)) };
    let mut use_neighbours = interval(USE_NEIGHBOURS);
    use_neighbours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut resync = interval(RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = reached(due.at) => {
                refresh(&mut socket, &mut topology, &due, &wanted, &mut resolving).await?;
                let now = Instant::now();
                due = Due::after(now, resolving.settle(&mut topology, now));
                publish(&published, &topology);
            }
            event = events.next() => match event? {
                Event::Message(message) => due.soon(false, apply(&mut topology, &message)),
                Event::Lost => due.soon(true, Routes::Changed),
            },
            Ok(()) = wanted.changed() => {
                due.wanted = true;
                due.now();
            }
            _ = use_neighbours.tick() => use_all(&socket, next_hops(&topology.paths)).await,
            _ = resync.tick() => due.soon(true, Routes::Changed),
        }
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        // A timer would wait for the next millisecond.
        Some(at) if at <= Instant::now() => {}
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What has to be done before the next snapshot.
struct Due {
    resync: bool,
    /// All paths have to be asked for.
    routes: bool,
    /// Other addresses matter: paths to those that are new have to be asked for.
    wanted: bool,
    at: Option<Instant>,
    /// From then on, the next snapshot may tell of neighbours and stations.
    next: Instant,
}

impl Due {
    /// After a snapshot. While neighbours may yet answer, until `at` at most, somebody waits for each.
    fn after(snapshot: Instant, at: Option<Instant>) -> Self {
        let pause = if at.is_some() { ANSWERS } else { SETTLE };
        Self { resync: false, routes: false, wanted: false, at, next: snapshot + pause }
    }

    /// Somebody waits for it, and asks for all that they want at once. A burst of routes that is being gathered is gathered
    /// whole.
    fn now(&mut self) {
        if !self.is_wide() {
            self.at = Some(Instant::now());
        }
    }

    /// Whether more has to be asked for than addresses that are new.
    const fn is_wide(&self) -> bool {
        self.resync || self.routes
    }

    fn soon(&mut self, resync: bool, routes: Routes) {
        let was_wide = self.is_wide();
        self.resync |= resync;
        self.routes |= routes == Routes::Changed;
        let now = Instant::now();
        // Routes change one by one, and are asked for once. Neighbours and stations are told as they are.
        let soon = if self.is_wide() { now + SETTLE } else { now.max(self.next) };
        self.at = Some(self.at.filter(|_| was_wide || !self.is_wide()).map_or(soon, |at| at.min(soon)));
    }
}

async fn refresh(
    socket: &mut Socket,
    topology: &mut Topology,
    due: &Due,
    wanted: &watch::Receiver<Arc<Addresses>>,
    resolving: &mut Resolving,
) -> Result<(), WatchLinks> {
    if due.resync {
        let (paths, settled) = (topology.paths.clone(), topology.settled.clone());
        *topology = Topology { paths, settled, ..socket.dump().await? };
    }
    if !due.routes && !due.wanted {
        return Ok(());
    }
    let wanted = Arc::clone(&wanted.borrow());
    // Of ten thousand addresses, one that is new is one question.
    let asked = if due.routes {
        topology.default_routes = socket.default_routes().await?;
        Addresses::clone(&wanted)
    } else {
        added(topology.paths.keys(), wanted.keys()).map(|address| (*address, ())).collect()
    };
    let found = socket.paths(&asked).await?;
    let is_new = found.iter().any(|(address, path)| topology.paths.get(address) != Some(path));
    let next_hops = if is_new { next_hops(&found) } else { BTreeSet::new() };
    if due.routes {
        topology.paths = found;
    } else {
        keep(&mut topology.paths, &wanted);
        topology.paths.extend(found);
    }
    use_all(socket, next_hops).await;
    resolving.begin(&wanted, topology, Instant::now());
    Ok(())
}

/// Addresses whose paths are known and whose neighbours may yet answer, each with the time until which it may.
#[derive(Default)]
struct Resolving(BTreeMap<IpAddr, Instant>);

impl Resolving {
    /// Takes over what is wanted, once the paths have been asked for.
    fn begin(&mut self, wanted: &Addresses, topology: &mut Topology, now: Instant) {
        keep(&mut topology.settled, wanted);
        self.0.retain(|address, _| wanted.contains_key(address));
        for &address in added(topology.settled.keys(), wanted.keys()) {
            self.0.entry(address).or_insert(now + RESOLVE);
        }
    }

    /// Settles addresses that are reached, that can't be, and those that do not answer in time. Tells when that
    /// is over for the next one.
    fn settle(&mut self, topology: &mut Topology, now: Instant) -> Option<Instant> {
        let mut settled = Vec::new();
        self.0.retain(|&address, until| {
            let hopeless = !topology.paths.contains_key(&address) || *until <= now;
            let is_settled = hopeless || topology.next_hop(address).is_some();
            if is_settled {
                settled.push((address, ()));
            }
            !is_settled
        });
        topology.settled.extend(settled);
        self.0.values().min().copied()
    }
}

/// Keeps what is of these addresses. Of ten thousand, few have gone.
fn keep<V>(all: &mut LiteMap<IpAddr, V>, addresses: &Addresses) {
    let gone: Addresses = added(addresses.keys(), all.keys()).map(|address| (*address, ())).collect();
    if !gone.is_empty() {
        all.retain(|address, _| !gone.contains_key(address));
    }
}

/// The interface and the neighbour on each of the paths.
fn next_hops(paths: &LiteMap<IpAddr, Path>) -> BTreeSet<(u32, IpAddr)> {
    paths.iter().map(|(address, path)| path.next_hop(*address)).collect()
}

async fn use_all(socket: &Socket, next_hops: BTreeSet<(u32, IpAddr)>) {
    for (ifindex, address) in next_hops {
        socket.use_neighbour(ifindex, address).await;
    }
}

fn publish(published: &watch::Sender<Arc<Topology>>, topology: &Topology) {
    published.send_if_modified(|last| {
        let next = topology.following(last);
        let is_new = next.is_some();
        *last = next.map_or_else(|| Arc::clone(last), Arc::new);
        is_new
    });
}
