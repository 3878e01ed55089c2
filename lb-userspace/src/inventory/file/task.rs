//! Watching: the file's directory, because editors and mounts replace the file itself.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::Reading;
use super::parse::parse;

/// A writer may take this long from one step of a change to the next: half a file is not worth an error.
const QUIET: Duration = Duration::from_millis(50);
/// The file is read again after this time in any case: some file systems report nothing, and a directory may
/// appear later than the agent.
const RESYNC: Duration = Duration::from_secs(5);

pub(super) async fn run(path: &Path, readings: &watch::Sender<Reading>) {
    let changed = Arc::new(Notify::new());
    let mut watcher = watch(path, &changed);
    let mut last = None;
    loop {
        read(path, readings, &mut last).await;
        // Whatever is missing may be a directory that comes back as another one.
        if watcher.is_none() || readings.borrow().problem.is_some() {
            watcher = watch(path, &changed);
        }
        if timeout(RESYNC, changed.notified()).await.is_ok() {
            sleep(QUIET).await;
        }
    }
}

/// `None` while the directory can't be watched: then the file is read at every [`RESYNC`].
fn watch(path: &Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let signal = Arc::clone(changed);
    let handler = move |event: notify::Result<Event>| {
        // Reading the file is an event, too.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            signal.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
        watcher.watch(&directory(path), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher.inspect_err(|error| tracing::debug!("cannot watch {}: {error}", path.display())).ok()
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
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
        Ok(declared) => {
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
