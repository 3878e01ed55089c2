//! Reading the files, and reading them again.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use super::model::{Lease, Leases};
use super::wire;
use crate::inventory::watch::Watch;

/// As many bytes of a file are read: a hundred thousand leases have some ten million.
const MAX_BYTES: u64 = 64 << 20;

/// A file, as it was read last.
struct File {
    path: PathBuf,
    text: String,
    leases: Vec<Lease>,
    problem: Option<String>,
}

/// Publishes the leases of all files, for ever. The first publication is of all of them.
pub(in crate::inventory) async fn run(paths: Vec<PathBuf>, published: watch::Sender<Leases>) {
    let mut watch = Watch::new(&paths);
    let new = |path| File { path, text: String::new(), leases: Vec::new(), problem: None };
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
        let result = match text(&self.path).await {
            Ok(text) if text == self.text && self.problem.is_none() => return,
            Ok(text) => wire::read(&text).map(|leases| (text, leases)).map_err(|error| error.to_string()),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        let place = self.path.display();
        match result {
            Ok((text, leases)) => {
                tracing::debug!("{place}: {} leases", leases.len());
                (self.text, self.leases, self.problem) = (text, leases, None);
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

async fn text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    tokio::fs::File::open(path).await?.take(MAX_BYTES).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
