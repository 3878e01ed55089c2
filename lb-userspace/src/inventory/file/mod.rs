//! VMs from a YAML file that is watched.
//!
//! Input: the file of the configuration's `inventory.file`. Output: [`Facts`], at once after a change. A file
//! that can't be read or means nothing leaves the facts as they are and says where it is wrong.

mod parse;
mod task;

use std::path::PathBuf;

use tokio::sync::watch;

use super::vms::{Facts, Provider};

pub use parse::parse;

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

    /// Reads the file now and after every change, for ever.
    pub async fn run(self) {
        task::run(&self.path, &self.facts).await;
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
