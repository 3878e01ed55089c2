//! Reading the file, and reading it again.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::Reading;
use super::parse::parse;
use crate::inventory::watch::Watch;
use crate::model::shared::share;

pub(in crate::inventory) async fn run(path: PathBuf, readings: watch::Sender<Reading>) {
    let mut watch = Watch::new([&path]);
    let mut last = None;
    loop {
        read(&path, &readings, &mut last).await;
        let is_missing = readings.borrow().problem.is_some();
        watch.changed(is_missing).await;
    }
}

/// The first reading is news, even that there is nobody: the agent waits for it. `last` is a hash of the text that
/// was read last: ten thousand VMs take a while to understand.
async fn read(path: &Path, readings: &watch::Sender<Reading>, last: &mut Option<u64>) {
    let place = path.display();
    let is_first = last.is_none();
    let result = match tokio::fs::read_to_string(path).await {
        Ok(text) => {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&text);
            if last.replace(hash) == Some(hash) && readings.borrow().problem.is_none() {
                return;
            }
            let parsed = tokio::task::spawn_blocking(move || parse(&text)).await;
            parsed
                .map_err(|error| format!("{place}: {error}"))
                .and_then(|parsed| parsed.map_err(|error| format!("{place}: {error}")))
        }
        Err(error) => {
            *last = Some(0);
            Err(format!("{place}: cannot be read: {error}"))
        }
    };
    readings.send_if_modified(|reading| match result {
        Ok(mut declared) => {
            share(&mut declared.vms, &reading.declared.vms);
            let new = Reading { declared, problem: None };
            let changed = is_first || *reading != new;
            if changed {
                tracing::info!("{place}: {} virtual machines", new.declared.vms.len());
            }
            *reading = new;
            changed
        }
        Err(problem) => {
            let changed = reading.problem.as_ref() != Some(&problem);
            if changed {
                tracing::warn!("{problem}; the facts stay as they are");
            }
            reading.problem = Some(problem);
            changed
        }
    });
}
