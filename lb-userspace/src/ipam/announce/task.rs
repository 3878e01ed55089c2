//! Sends announcements at their time.

use std::collections::BTreeSet;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::model::{Announced, Announcement, Announcements};
use super::socket::Socket;
use super::wire::frame;

/// Announces what is served, until it is asked to stop.
pub async fn run(mut announced: watch::Receiver<Announced>, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let mut announcements = Announcements::default();
    let mut socket = Socket::default();
    let mut silent = BTreeSet::new();
    announced.mark_changed();
    loop {
        let due = announcements.poll_timeout().map(Instant::from_std);
        tokio::select! {
            biased;
            () = &mut stop => return,
            Ok(()) = announced.changed() => {
                announcements.handle(&announced.borrow_and_update(), Instant::now().into_std());
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                send(&mut announcements, &mut socket, &mut silent);
            }
        }
    }
}

/// `silent` are the interfaces from which the last burst could not be sent.
fn send(announcements: &mut Announcements, socket: &mut Socket, silent: &mut BTreeSet<u32>) {
    let all = announcements.handle_timeout(Instant::now().into_std());
    for of_one in all.chunk_by(|one, next| one.ifindex == next.ifindex) {
        let Some(&Announcement { ifindex, mac, .. }) = of_one.first() else { continue };
        if let Err(error) = socket.send(ifindex, of_one.iter().map(frame)) {
            if silent.insert(ifindex) {
                tracing::warn!(ifindex, "VIPs can't be announced: {error}");
            }
        } else {
            silent.remove(&ifindex);
            tracing::debug!(ifindex, ?mac, "{} VIPs are announced", of_one.len());
        }
    }
}
