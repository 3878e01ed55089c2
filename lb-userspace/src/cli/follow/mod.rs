//! Objects as they change: what `--watch` shows.
//!
//! Input: a list of the agent's API, and a watch from there on. Output: a row or a document a change, until nobody reads them.
//! It outlives the agent: when another one answers, it goes on where it was, or finds out by a list what it has missed.

mod seen;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, RequestError};
use super::output::{Columns, Format};
use seen::{Change, Expired, Seen};

/// Between two attempts to find an agent, and two watches.
const PAUSE: Duration = Duration::from_millis(500);

/// Objects of one kind, and how people see them.
pub(super) struct Followed<'a, const N: usize> {
    /// The API's path of all of them.
    pub(super) path: String,
    /// The one that is meant; `None` is all.
    pub(super) name: Option<&'a str>,
    pub(super) header: [&'static str; N],
    /// The last cell is the age.
    pub(super) row: fn(Value, Timestamp) -> anyhow::Result<[String; N]>,
}

/// Shows what there is, and then each change.
pub(super) async fn follow<const N: usize>(
    client: &Client,
    followed: &Followed<'_, N>,
    format: Format,
) -> anyhow::Result<()> {
    let mut columns = Columns::default();
    let mut is_begun = false;
    let show = |changes: Vec<Change>| {
        let mut text = String::new();
        if format == Format::Table {
            let header = (!is_begun).then(|| followed.header.map(str::to_owned));
            let mut rows: Vec<[String; N]> = header.into_iter().collect();
            for change in changes {
                rows.push(followed.row(change)?);
            }
            text = columns.rows(&rows);
        } else {
            for Change { happened, object } in changes {
                text += &format.document(&json!({ "type": happened, "object": object }))?;
            }
        }
        is_begun = true;
        super::offer(&text)
    };
    changes(client, &followed.query(), show, || eprintln!("the agent is gone; waiting for it")).await
}

impl<const N: usize> Followed<'_, N> {
    /// The path, and what of it is meant.
    fn query(&self) -> String {
        let name = self.name.map(|name| super::flows::escaped(&format!("metadata.name={name}")));
        format!("{}?{}", self.path, name.map(|name| format!("fieldSelector={name}&")).unwrap_or_default())
    }

    fn row(&self, change: Change) -> anyhow::Result<[String; N]> {
        let is_gone = change.is_deletion();
        let mut row = (self.row)(change.object, Timestamp::now())?;
        if let Some(age) = row.last_mut().filter(|_| is_gone) {
            "deleted".clone_into(age);
        }
        Ok(row)
    }
}

/// Why a list or a watch is over.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Expired(#[from] Expired),
    #[error("nobody reads any more")]
    Unread,
    #[error(transparent)]
    Show(#[from] anyhow::Error),
}

/// Hands over all changes, first that what there is was added, as long as they are wanted; tells once of each outage.
async fn changes(
    client: &Client,
    path: &str,
    mut show: impl FnMut(Vec<Change>) -> anyhow::Result<bool>,
    tell: impl Fn(),
) -> anyhow::Result<()> {
    let mut seen = Seen::default();
    let (mut is_listed, mut is_reached, mut is_missed) = (false, false, false);
    loop {
        let ended = if is_listed {
            let show = |changes| {
                // An agent that says something is there.
                is_missed = false;
                show(changes)
            };
            watch(client, path, &mut seen, show).await
        } else {
            list(client, path, &mut seen, &mut show).await
        };
        match ended {
            Ok(()) if !is_listed => {
                (is_listed, is_reached, is_missed) = (true, true, false);
                continue;
            }
            Ok(()) => is_missed = false,
            Err(Ended::Unread) => return Ok(()),
            Err(Ended::Expired(_)) => is_listed = false,
            Err(Ended::Request(error)) if error.is_expired() => is_listed = false,
            Err(Ended::Request(error)) if is_reached && error.is_outage() => {
                if !is_missed {
                    tell();
                }
                is_missed = true;
            }
            Err(Ended::Request(error)) => return Err(error.into()),
            Err(Ended::Show(error)) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn list(
    client: &Client,
    path: &str,
    seen: &mut Seen,
    show: &mut impl FnMut(Vec<Change>) -> anyhow::Result<bool>,
) -> Result<(), Ended> {
    let changes = seen.list(client.get(path).await?);
    if show(changes)? { Ok(()) } else { Err(Ended::Unread) }
}

async fn watch(
    client: &Client,
    path: &str,
    seen: &mut Seen,
    mut show: impl FnMut(Vec<Change>) -> anyhow::Result<bool>,
) -> Result<(), Ended> {
    let path = format!("{path}watch=1&allowWatchBookmarks=1&resourceVersion={}", seen.revision());
    let visit = |line: Value| -> Result<(), Ended> {
        let changes = seen.line(line)?.into_iter().collect();
        if show(changes)? { Ok(()) } else { Err(Ended::Unread) }
    };
    client.lines(&path, visit).await
}

#[cfg(test)]
mod tests;
