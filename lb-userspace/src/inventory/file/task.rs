//! Reading the file, and reading it again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::Reading;
use super::parse::Declared;
use super::reader::Reader;
use crate::inventory::watch::Watch;

pub(in crate::inventory) async fn run(path: PathBuf, readings: watch::Sender<Reading>) {
    let place = path.display();
    let mut watch = Watch::new([&path]);
    let mut reader = Reader::default();
    let mut is_first = true;
    loop {
        let read;
        (reader, read) = self::read(&path, reader).await;
        let read = read.map_err(|problem| format!("{place}: {problem}"));
        if let Err(problem) = &read
            && readings.borrow().problem.as_ref() != Some(problem)
        {
            tracing::warn!("{problem}; the facts stay as they are");
        }
        readings.send_if_modified(|reading| {
            let new = match read {
                Ok(declared) => Reading { declared, problem: None },
                Err(problem) => Reading { problem: Some(problem), ..reading.clone() },
            };
            // The first reading is news, even that there is nobody: the agent waits for it.
            let is_news = is_first || *reading != new;
            if is_news && new.problem.is_none() {
                tracing::info!("{place}: {} virtual machines", new.declared.vms.len());
            }
            *reading = new;
            is_news
        });
        is_first = false;
        let is_missing = readings.borrow().problem.is_some();
        watch.changed(is_missing).await;
    }
}

/// Reads it as it is now; else what stands against it.
async fn read(path: &Path, mut reader: Reader) -> (Reader, Result<Arc<Declared>, String>) {
    let text = match tokio::fs::read_to_string(path).await {
        Ok(text) => text,
        Err(error) => return (reader, Err(format!("cannot be read: {error}"))),
    };
    // Ten thousand VMs take a while to understand.
    let understood = tokio::task::spawn_blocking(move || {
        let read = reader.read(&text).map_err(|error| error.to_string());
        (reader, read)
    });
    understood.await.unwrap_or_else(|error| (Reader::default(), Err(error.to_string())))
}
