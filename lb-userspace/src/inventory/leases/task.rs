//! Reading the files, and reading them again.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::model::{Lease, Leases};
use super::wire;
use crate::inventory::watch::Watch;

/// No more bytes of a file are read: a hundred thousand leases have some ten million.
const MAX_BYTES: u64 = 64 << 20;
/// Where Kea has leases while it cleans a file up, and after it, beside the file itself: what it is done with; else what it
/// had cleaned up before, and what it is to clean up next. It reads them so when it starts.
const KEAS_FINISHED: &str = ".completed";
const KEAS_OTHERS: [&str; 2] = [".2", ".1"];
/// So often files are read again that have been replaced while they were read.
const TRIES: usize = 5;

/// A file, as it was read last.
struct File {
    path: PathBuf,
    text: Arc<str>,
    leases: Vec<Lease>,
    problem: Option<String>,
}

/// Publishes the leases of all files, for ever. The first publication is of all of them.
pub(in crate::inventory) async fn run(paths: Vec<PathBuf>, published: watch::Sender<Leases>) {
    let mut watch = Watch::new(&paths);
    let new = |path| File { path, text: Arc::default(), leases: Vec::new(), problem: None };
    let mut files: Vec<File> = paths.into_iter().map(new).collect();
    let mut is_first = true;
    loop {
        for file in &mut files {
            file.look().await;
        }
        let leases = leases(&files, Timestamp::now().as_second());
        let is_missing = leases.problem.is_some();
        published.send_if_modified(|last| {
            let is_news = is_first || *last != leases;
            *last = leases;
            is_news
        });
        is_first = false;
        watch.changed(is_missing).await;
    }
}

/// Those that have not ended. A file that can't be read goes on telling what it told last.
fn leases(files: &[File], now: i64) -> Leases {
    let all = files.iter().flat_map(|file| &file.leases);
    let mut live: Vec<Lease> =
        all.filter(|lease| lease.ends.is_none_or(|ends| ends > now)).cloned().collect();
    live.sort_by_key(|lease| (Reverse(lease.ends.unwrap_or(i64::MAX)), lease.address));
    Leases { live, problem: files.iter().find_map(|file| file.problem.clone()) }
}

impl File {
    async fn look(&mut self) {
        let path = self.path.clone();
        let last = self.problem.is_none().then(|| Arc::clone(&self.text));
        // Many leases take their time, and others have theirs meanwhile.
        let read = spawn_blocking(move || read(&path, last.as_deref())).await;
        let result = read.unwrap_or_else(|lost| Err(format!("cannot be read: {lost}")));
        let place = self.path.display();
        match result {
            Ok(None) => {}
            Ok(Some((text, leases))) => {
                tracing::debug!("{place}: {} leases", leases.len());
                (self.text, self.leases, self.problem) = (text.into(), leases, None);
            }
            Err(why) => {
                let problem = Some(format!("{place}: {why}"));
                if self.problem != problem {
                    tracing::warn!("{place}: {why}; its leases stay as they are until they end");
                }
                self.problem = problem;
            }
        }
    }
}

/// What the file says, unless it is what it said last.
fn read(path: &Path, last: Option<&str>) -> Result<Option<(String, Vec<Lease>)>, String> {
    let text = text(path).map_err(|error| format!("cannot be read: {error}"))?;
    if last == Some(text.as_str()) {
        return Ok(None);
    }
    let leases = wire::read(&text).map_err(|error| error.to_string())?;
    Ok(Some((text, leases)))
}

/// The file, after Kea's others if it is Kea's. Files that take each other's place meanwhile would hide leases.
fn text(path: &Path) -> io::Result<String> {
    let mut before = identities(path);
    for _ in 1..TRIES {
        let text = joined(path);
        let after = identities(path);
        if before == after {
            return text;
        }
        before = after;
    }
    joined(path)
}

/// The inode of each of the files that is there.
fn identities(path: &Path) -> Vec<Option<u64>> {
    let suffixes = ["", KEAS_FINISHED].into_iter().chain(KEAS_OTHERS);
    suffixes.map(|suffix| fs::metadata(beside(path, suffix)).ok().map(|file| file.ino())).collect()
}

fn joined(path: &Path) -> io::Result<String> {
    let own = contents(path)?;
    if !wire::may_be_keas(&own) {
        return Ok(own);
    }
    let other = |suffix| match contents(&beside(path, suffix)) {
        Ok(text) => Ok(wire::may_be_keas(&text).then_some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let mut text = match other(KEAS_FINISHED)? {
        Some(finished) => finished,
        None => KEAS_OTHERS
            .into_iter()
            .filter_map(|suffix| other(suffix).transpose())
            .collect::<io::Result<_>>()?,
    };
    text.push_str(&own);
    Ok(text)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The whole lines of a file. What would be left out of a longer one is what has been lent last.
fn contents(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        let problem = format!("it has more than {} MiB", MAX_BYTES >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, problem));
    }
    Ok(wire::whole_lines(&String::from_utf8_lossy(&bytes)).to_owned())
}
