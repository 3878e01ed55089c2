//! VMs from a YAML file that is watched.
//!
//! Input: the file of the configuration's `inventory.file`. Output: [`Facts`], at once after a change. A file
//! that can't be read or means nothing leaves the facts as they are and says where it is wrong.

mod parse;
mod task;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::guest::merge;
use super::guest::task::Agents;
use super::vms::{Facts, Provider};

pub use parse::{Declared, parse};

/// The watched file.
#[derive(Debug)]
pub struct FileProvider {
    path: PathBuf,
    facts: watch::Sender<Facts>,
}

impl FileProvider {
    /// Of a path; nothing is read before [`FileProvider::run`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), facts: watch::Sender::default() }
    }

    /// Reads the file now and after every change, and asks the guest agents that it names, for ever.
    pub async fn run(self) {
        let (readings, changes) = watch::channel(Reading::default());
        tokio::join!(task::run(&self.path, &readings), follow(changes, &self.facts));
    }
}

/// The latest good reading of the file, and why there is no newer one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Reading {
    declared: Declared,
    problem: Option<String>,
}

/// Publishes what is declared, with what guests say of themselves.
async fn follow(mut readings: watch::Receiver<Reading>, facts: &watch::Sender<Facts>) {
    let mut agents = Agents::default();
    let mut is_first = true;
    let mut reading = Reading::default();
    loop {
        tokio::select! {
            changed = readings.changed() => {
                if changed.is_err() {
                    return;
                }
                reading.clone_from(&readings.borrow_and_update());
                agents.ask(&reading.declared.guests);
                if is_first {
                    agents.all_told().await;
                }
            }
            () = agents.changed() => {}
        }
        let told = agents.told();
        let vms = reading.declared.vms.iter().map(|(key, vm)| (key.clone(), merge(vm, told.get(key))));
        let new = Facts { vms: Arc::new(vms.collect()), problem: reading.problem.clone() };
        facts.send_if_modified(|facts| {
            // The first reading is news, even that there is nobody: the agent waits for it.
            let is_news = is_first || *facts != new;
            *facts = new;
            is_news
        });
        is_first = false;
    }
}

impl Provider for FileProvider {
    fn facts(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests;
