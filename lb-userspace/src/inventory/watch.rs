//! Watching files: their directories, because editors, servers and mounts replace the files themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// A writer may take this long from one step of a change to the next: half a file is not worth an error.
const QUIET: Duration = Duration::from_millis(50);
/// Files are looked at again after this time in any case: some file systems report nothing, and a directory may
/// appear later than the agent.
const RESYNC: Duration = Duration::from_secs(5);

/// Tells when files may have changed.
pub(super) struct Watch {
    directories: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
    /// `None` while a directory can't be watched: then files are looked at every [`RESYNC`].
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Of these files, which need not exist.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let directories = paths.into_iter().map(|path| directory(path)).collect();
        let mut watch = Self { directories, changed: Arc::default(), watcher: None };
        watch.begin();
        watch
    }

    /// Waits until it is time to look again. `is_missing`: something could not be read, which may be a directory that
    /// comes back as another one.
    pub(super) async fn changed(&mut self, is_missing: bool) {
        if self.watcher.is_none() || is_missing {
            self.begin();
        }
        if timeout(RESYNC, self.changed.notified()).await.is_ok() {
            sleep(QUIET).await;
        }
    }

    fn begin(&mut self) {
        let signal = Arc::clone(&self.changed);
        let handler = move |event: notify::Result<Event>| {
            // Reading the file is an event, too.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                signal.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
            for directory in &self.directories {
                watcher.watch(directory, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        self.watcher = watcher.inspect_err(|error| tracing::debug!("cannot watch: {error}")).ok();
    }
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
