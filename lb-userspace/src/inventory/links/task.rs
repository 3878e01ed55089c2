//! Watches the network and keeps the wanted neighbours resolved.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::model::Topology;
use super::socket::{Event, Events, Socket, WatchLinks};
use super::state::{Routes, apply};

/// Addresses whose paths and neighbours matter.
pub type Wanted = BTreeSet<IpAddr>;

/// How long a burst of notifications is gathered before a snapshot is published.
const SETTLE: Duration = Duration::from_millis(20);
/// How often wanted neighbours are used: below the 30 s for which a confirmed one counts as reachable.
const USE_NEIGHBOURS: Duration = Duration::from_secs(15);
/// How often everything is asked for again, whatever was notified.
const RESYNC: Duration = Duration::from_mins(1);

/// The network as it is now.
///
/// # Errors
/// When the kernel can't be asked.
pub async fn snapshot(wanted: &Wanted) -> Result<Topology, WatchLinks> {
    let socket = Socket::open()?;
    let mut topology = socket.dump().await?;
    topology.paths = socket.paths(wanted).await?;
    Ok(topology)
}

/// Publishes the network's topology whenever it changes, until `stop`.
///
/// # Errors
/// When the kernel can't be asked, or its notifications end.
pub async fn run(
    mut wanted: watch::Receiver<Wanted>,
    published: watch::Sender<Topology>,
    stop: impl Future<Output = ()>,
) -> Result<(), WatchLinks> {
    // Notifications first: what changes during the dump is not missed.
    let mut events = Events::open()?;
    let socket = Socket::open()?;
    let mut topology = Topology::default();
    let mut due = Due { resync: true, routes: true, at: Some(Instant::now()) };
    let mut use_neighbours = interval(USE_NEIGHBOURS);
    use_neighbours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut resync = interval(RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = sleep_until(due.at.unwrap_or_else(Instant::now)), if due.at.is_some() => {
                refresh(&socket, &mut topology, &due, &wanted).await?;
                due = Due::default();
                publish(&published, &topology);
            }
            event = events.next() => match event? {
                Event::Message(message) => due.soon(false, apply(&mut topology, &message)),
                Event::Lost => due.soon(true, Routes::Changed),
            },
            Ok(()) = wanted.changed() => due.soon(false, Routes::Changed),
            _ = use_neighbours.tick() => use_all(&socket, &topology).await,
            _ = resync.tick() => due.soon(true, Routes::Changed),
        }
    }
}

/// What has to be done before the next snapshot.
#[derive(Default)]
struct Due {
    resync: bool,
    routes: bool,
    at: Option<Instant>,
}

impl Due {
    fn soon(&mut self, resync: bool, routes: Routes) {
        self.resync |= resync;
        self.routes |= routes == Routes::Changed;
        self.at.get_or_insert_with(|| Instant::now() + SETTLE);
    }
}

async fn refresh(
    socket: &Socket,
    topology: &mut Topology,
    due: &Due,
    wanted: &watch::Receiver<Wanted>,
) -> Result<(), WatchLinks> {
    if due.resync {
        let paths = std::mem::take(&mut topology.paths);
        *topology = Topology { paths, ..socket.dump().await? };
    }
    if due.routes {
        let wanted = wanted.borrow().clone();
        topology.default_routes = socket.default_routes().await?;
        let paths = socket.paths(&wanted).await?;
        let is_new = paths != topology.paths;
        topology.paths = paths;
        if is_new {
            use_all(socket, topology).await;
        }
    }
    Ok(())
}

async fn use_all(socket: &Socket, topology: &Topology) {
    let next_hops =
        topology.paths.iter().map(|(address, path)| (path.ifindex, path.gateway.unwrap_or(*address)));
    for (ifindex, address) in next_hops.collect::<BTreeSet<_>>() {
        socket.use_neighbour(ifindex, address).await;
    }
}

fn publish(published: &watch::Sender<Topology>, topology: &Topology) {
    published.send_if_modified(|last| {
        let is_new = last != topology;
        if is_new {
            last.clone_from(topology);
        }
        is_new
    });
}
