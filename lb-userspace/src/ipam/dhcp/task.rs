//! The clients at work: clocks, sockets, channels.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};

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
    mut wanted: watch::Receiver<Wanted>,
    published: watch::Sender<Facts>,
    stop: impl Future<Output = ()>,
) {
    // Keyed anew in each process, and otherwise of nothing.
    let mut clients = Clients::new(settings, RandomState::new().hash_one(0));
    let (sender, mut heard) = mpsc::channel(HEARD);
    let mut network = Network { sockets: Sockets::new(sender), deaf: BTreeMap::new() };
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
}

impl Network {
    fn follow(&mut self, clients: &mut Clients) {
        let mut links = clients.links();
        let frames = clients.take_frames();
        // A link that is left may have something to say yet.
        let left: Vec<Link> =
            frames.iter().map(|(link, _)| *link).filter(|link| !links.contains(link)).collect();
        links.extend(&left);
        let failures = self.sockets.listen(&links);
        self.deaf.retain(|link, _| failures.iter().any(|(failed, _)| failed == link));
        for (link, error) in failures {
            let error = error.to_string();
            if self.deaf.insert(link, error.clone()).as_ref() != Some(&error) {
                let Link { ifindex, vlan } = link;
                tracing::warn!(ifindex, vlan, "DHCP can't be spoken: {error}; tried again");
            }
        }
        for (link, frame) in frames {
            if let Err(error) = self.sockets.send(link, &frame) {
                tracing::debug!(ifindex = link.ifindex, "a DHCP frame is not sent: {error}");
            }
        }
        if !left.is_empty() {
            self.sockets.listen(&clients.links());
        }
    }
}
