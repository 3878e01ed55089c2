//! The clients at work: clocks, sockets, channels.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::clients::{Clients, Settings};
use super::model::{Facts, Link, Wanted};
use super::socket::Sockets;

/// Frames that wait to be looked at: some for each of a thousand load balancers.
const HEARD: usize = 1024;

/// Keeps leases until it is asked to stop, or nobody wants any (the sender of `wanted` is gone). Leases are kept
/// then: VIPs go on being served.
pub async fn run(
    settings: Settings,
    mut wanted: watch::Receiver<Arc<Wanted>>,
    published: watch::Sender<Facts>,
    stop: impl Future<Output = ()>,
) {
    // Keyed anew in each process, and otherwise of nothing.
    let mut clients = Clients::new(settings, RandomState::new().hash_one(0));
    let (sender, mut heard) = mpsc::channel(HEARD);
    let mut network = Network { sockets: Sockets::new(sender), deaf: BTreeMap::new(), mute: BTreeMap::new() };
    wanted.mark_changed();
    tokio::pin!(stop);
    loop {
        let due = clients.poll_timeout().map(Instant::from_std);
        tokio::select! {
            () = &mut stop => return,
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                clients.handle_wanted(&wanted.borrow_and_update(), Instant::now().into_std(), Timestamp::now());
            }
            Some((link, frame)) = heard.recv() => {
                clients.handle_frame(link, &frame, Instant::now().into_std(), Timestamp::now());
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                clients.handle_timeout(Instant::now().into_std(), Timestamp::now());
            }
        }
        network.follow(&mut clients);
        published.send_if_modified(|last| {
            let facts = clients.facts();
            let is_new = *last != facts;
            *last = facts;
            is_new
        });
    }
}

struct Network {
    sockets: Sockets,
    /// Where nothing can be heard, and why: told once.
    deaf: BTreeMap<Link, String>,
    /// Where the last frame could not be sent, and why: told once.
    mute: BTreeMap<Link, String>,
}

impl Network {
    fn follow(&mut self, clients: &mut Clients) {
        let mut links = clients.links();
        let frames = clients.take_frames();
        // A link that is left may have something to say yet.
        let left: Vec<Link> =
            frames.iter().map(|(link, _)| *link).filter(|link| !links.contains(link)).collect();
        links.extend(&left);
        self.listen(&links);
        for (link, frame) in frames {
            self.send(link, &frame);
        }
        if !left.is_empty() {
            self.sockets.listen(&clients.links());
        }
        let silent = self.mute.iter().chain(&self.deaf);
        clients.handle_silence(&silent.map(|(link, error)| (*link, error.clone())).collect());
    }

    fn listen(&mut self, links: &BTreeSet<Link>) {
        let failures = self.sockets.listen(links);
        self.deaf.retain(|link, _| failures.iter().any(|(failed, _)| failed == link));
        self.mute.retain(|link, _| links.contains(link));
        for (link, error) in failures {
            tell_once(&mut self.deaf, link, &error);
        }
    }

    fn send(&mut self, link: Link, frame: &[u8]) {
        match self.sockets.send(link, frame) {
            Ok(()) => drop(self.mute.remove(&link)),
            // Why there is no socket is told.
            Err(_) if self.deaf.contains_key(&link) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                tracing::debug!(
                    ifindex = link.ifindex,
                    "no room for a DHCP frame: it is lost, as on the way"
                );
            }
            Err(error) => tell_once(&mut self.mute, link, &error),
        }
    }
}

fn tell_once(told: &mut BTreeMap<Link, String>, link: Link, error: &io::Error) {
    let error = error.to_string();
    if told.get(&link) != Some(&error) {
        let Link { ifindex, vlan } = link;
        tracing::warn!(ifindex, vlan, "DHCP can't be spoken: {error}; tried again");
        told.insert(link, error);
    }
}
