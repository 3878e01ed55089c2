//! Watching files: their directories, because editors, servers and mounts replace the files themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A writer may take this long from one step of a change to the next: half a file is not worth an error.
const QUIET: Duration = Duration::from_millis(50);
/// Files are looked at again after this time in any case: some file systems report nothing, and a directory may
/// appear later than the agent.
const RESYNC: Duration = Duration::from_secs(5);

/// Tells when files may have changed.
pub(super) struct Watch {
    paths: BTreeSet<PathBuf>,
    signals: Arc<Signals>,
    /// `None` while a directory can't be watched: then files are looked at every [`RESYNC`].
    watcher: Option<RecommendedWatcher>,
}

#[derive(Default)]
struct Signals {
    changed: Notify,
    /// A file was put in another's place: it is whole.
    replaced: Notify,
}

impl Watch {
    /// Of these files, which need not exist.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        // As events name them.
        let name = |path: &PathBuf| Some(directory(path).join(path.file_name()?));
        let paths = paths.into_iter().filter_map(name).collect();
        let mut watch = Self { paths, signals: Arc::default(), watcher: None };
        watch.begin();
        watch
    }

    /// Waits until it is time to look again. `is_missing`: something could not be read, which may be a directory that
    /// comes back as another one.
    pub(super) async fn changed(&mut self, is_missing: bool) {
        if self.watcher.is_none() || is_missing {
            self.begin();
        }
        let Signals { changed, replaced } = &*self.signals;
        if timeout(RESYNC, changed.notified()).await.is_ok() {
            drop(timeout(QUIET, replaced.notified()).await);
            // What has happened up to now will be seen.
            for seen in [changed, replaced] {
                drop(timeout(Duration::ZERO, seen.notified()).await);
            }
        }
    }

    fn begin(&mut self) {
        let (signals, paths) = (Arc::clone(&self.signals), self.paths.clone());
        let handler = move |event: notify::Result<Event>| match News::of(&event, &paths) {
            News::Nothing => {}
            News::Changed => signals.changed.notify_one(),
            News::Replaced => {
                signals.changed.notify_one();
                signals.replaced.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
            let directories: BTreeSet<PathBuf> = self.paths.iter().map(|path| directory(path)).collect();
            for directory in &directories {
                watcher.watch(directory, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        self.watcher = watcher.inspect_err(|error| tracing::debug!("cannot watch: {error}")).ok();
    }
}

/// What an event says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    Nothing,
    /// Something may be other than before, and may be in the middle of it.
    Changed,
    /// A file was put in another's place.
    Replaced,
}

impl News {
    fn of(event: &notify::Result<Event>, paths: &BTreeSet<PathBuf>) -> Self {
        // Of what is lost, nobody knows.
        let Ok(event) = event else { return Self::Changed };
        match event.kind {
            // Reading the file is an event, too; and what was renamed is told by each of its names before.
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => Self::Nothing,
            EventKind::Modify(ModifyKind::Name(RenameMode::To))
                if event.paths.iter().any(|path| paths.contains(path)) =>
            {
                Self::Replaced
            }
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => Self::Changed,
        }
    }
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, CreateKind, DataChange};

    #[test]
    fn only_what_is_renamed_into_place_is_whole() {
        let paths = BTreeSet::from([PathBuf::from("/etc/lb/vms.yaml")]);
        let renamed = |mode| EventKind::Modify(ModifyKind::Name(mode));
        for (kind, path, expected) in [
            (renamed(RenameMode::To), "/etc/lb/vms.yaml", News::Replaced),
            (renamed(RenameMode::To), "/etc/lb/..data", News::Changed),
            (renamed(RenameMode::From), "/etc/lb/vms.yaml", News::Changed),
            (renamed(RenameMode::Both), "/etc/lb/vms.yaml", News::Nothing),
            (EventKind::Create(CreateKind::File), "/etc/lb/vms.yaml", News::Changed),
            (EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/etc/lb/vms.yaml", News::Changed),
            (EventKind::Access(AccessKind::Read), "/etc/lb/vms.yaml", News::Nothing),
        ] {
            let event = Ok(Event::new(kind).add_path(path.into()));
            assert_eq!(News::of(&event, &paths), expected, "{event:?}");
        }
        assert_eq!(News::of(&Err(notify::Error::generic("lost")), &paths), News::Changed);
    }

    #[tokio::test]
    async fn a_file_is_looked_at_again_when_it_was_written_or_replaced() {
        let directory = std::env::temp_dir().join(format!("lb-watch-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let [path, fresh] = ["vms.yaml", "vms.yaml.new"].map(|name| directory.join(name));
        let mut watch = Watch::new([&path]);
        for text in ["one", "two"] {
            std::fs::write(&path, text).unwrap();
            watch.changed(false).await;
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(&fresh, &path).unwrap();
            watch.changed(false).await;
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let nothing = timeout(QUIET, watch.changed(false)).await;
        assert!(nothing.is_err(), "what has been seen is told once");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
