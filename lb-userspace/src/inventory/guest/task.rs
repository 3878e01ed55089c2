//! One loop per guest: none waits for another.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::Guests;
use super::model::Told;
use super::socket::{AskGuest, Channel};
use crate::model::meta::NamespacedName;
use crate::model::vm::Interface;

/// From question to question.
const PERIOD: Duration = Duration::from_secs(5);
/// From question to question while there is no answer.
const RETRY: Duration = Duration::from_secs(1);
/// A guest that has not answered by then is silent.
const PATIENCE: Duration = Duration::from_secs(3);

/// What all of them have told.
pub(in crate::inventory) type AllTold = BTreeMap<NamespacedName, Told>;

/// The guests that are asked. Dropping it asks no more.
#[derive(Default, Debug)]
pub(in crate::inventory) struct Agents {
    asked: BTreeMap<NamespacedName, Asked>,
    told: watch::Sender<AllTold>,
    seen: Option<watch::Receiver<AllTold>>,
}

#[derive(Debug)]
struct Asked {
    socket: PathBuf,
    handle: AbortHandle,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Agents {
    /// Asks these from now on, and no others.
    pub(in crate::inventory) fn ask(&mut self, guests: &Guests) {
        self.asked.retain(|vm, asked| guests.get(vm) == Some(&asked.socket));
        let asked = &self.asked;
        self.told.send_if_modified(|told| {
            let before = told.len();
            told.retain(|vm, _| asked.contains_key(vm));
            told.len() != before
        });
        for (vm, socket) in guests {
            if !self.asked.contains_key(vm) {
                let task = ask(vm.clone(), socket.clone(), self.told.clone());
                let handle = tokio::spawn(task).abort_handle();
                self.asked.insert(vm.clone(), Asked { socket: socket.clone(), handle });
            }
        }
    }

    /// Waits until each has answered, or is off or silent: an agent that starts anew must not take VMs for gone that
    /// it has not asked.
    pub(in crate::inventory) async fn all_told(&self) {
        let mut told = self.told.subscribe();
        let all = told.wait_for(|told| self.asked.keys().all(|vm| told.contains_key(vm)));
        // Each tells something within its patience; more than that is a machine that hangs.
        drop(timeout(PATIENCE * 2, all).await);
    }

    /// What they have told.
    pub(in crate::inventory) fn told(&mut self) -> AllTold {
        let seen = self.seen.get_or_insert_with(|| self.told.subscribe());
        seen.borrow_and_update().clone()
    }

    /// Waits until one tells something new.
    pub(in crate::inventory) async fn changed(&mut self) {
        let seen = self.seen.get_or_insert_with(|| self.told.subscribe());
        // The sender is here.
        drop(seen.changed().await);
    }
}

async fn ask(vm: NamespacedName, socket: PathBuf, told: watch::Sender<AllTold>) {
    let tell = |new: Told, why: &str| {
        told.send_if_modified(|all| {
            let old = all.insert(vm.clone(), new.clone());
            let is_news = old.as_ref() != Some(&new);
            if is_news {
                report(&vm, &socket, &new, why);
            }
            is_news
        });
    };
    loop {
        match Channel::open(&socket).await {
            Err(error) if nobody_serves(&error) => tell(Told::Off, &error.to_string()),
            // Whether it runs is not known: this process may not, or has too many files open.
            Err(error) => tell(Told::Silent, &error.to_string()),
            Ok(channel) => {
                if let Some(why) =
                    converse(channel, |interfaces| tell(Told::Interfaces(interfaces), "")).await
                {
                    tell(Told::Silent, &why);
                }
            }
        }
        sleep(RETRY).await;
    }
}

/// Asks over and over until the connection is of no use any more. Gives why the guest is silent; nothing if it has
/// answered and the connection has ended, of which connecting anew tells more: the emulator has ended, or the guest
/// restarts.
async fn converse(mut channel: Channel, mut tell: impl FnMut(Vec<Interface>)) -> Option<String> {
    let mut has_answered = false;
    loop {
        let problem = match timeout(PATIENCE, channel.interfaces()).await {
            Ok(Ok(interfaces)) => {
                tell(interfaces);
                has_answered = true;
                match timeout(PERIOD, channel.closed()).await {
                    Ok(problem) => problem,
                    Err(_) => continue,
                }
            }
            Ok(Err(problem)) => problem,
            Err(_) => return Some("no answer in time".to_owned()),
        };
        return match problem {
            AskGuest::Socket(_) if has_answered => None,
            problem @ (AskGuest::Socket(_) | AskGuest::Endless | AskGuest::Answer(_)) => {
                Some(problem.to_string())
            }
        };
    }
}

/// Does an emulator that is not there answer so?
fn nobody_serves(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn report(vm: &NamespacedName, socket: &Path, told: &Told, why: &str) {
    let socket = socket.display();
    match told {
        Told::Off => {
            tracing::info!(%vm, "not running: nobody serves the guest agent's socket {socket}: {why}");
        }
        Told::Silent => tracing::warn!(%vm, "the guest agent at {socket} is silent: {why}"),
        Told::Interfaces(interfaces) => {
            tracing::info!(%vm, interfaces = interfaces.len(), "the guest agent at {socket} answers");
        }
    }
}
