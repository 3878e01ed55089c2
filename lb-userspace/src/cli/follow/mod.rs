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
    changes(client, &followed.query(), show).await
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

/// Hands over all changes, first that what there is was added, as long as they are wanted.
async fn changes(
    client: &Client,
    path: &str,
    mut show: impl FnMut(Vec<Change>) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut seen = Seen::default();
    let (mut is_listed, mut is_reached, mut is_missed) = (false, false, false);
    loop {
        let ended = if is_listed {
            watch(client, path, &mut seen, &mut show).await
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
                    eprintln!("the agent is gone; waiting for it");
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
    show: &mut impl FnMut(Vec<Change>) -> anyhow::Result<bool>,
) -> Result<(), Ended> {
    let path = format!("{path}watch=1&allowWatchBookmarks=1&resourceVersion={}", seen.revision());
    let visit = |line: Value| -> Result<(), Ended> {
        let changes = seen.line(line)?.into_iter().collect();
        if show(changes)? { Ok(()) } else { Err(Ended::Unread) }
    };
    client.lines(&path, visit).await
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::api::tests::Server;

    /// What is shown of the load balancers of a server of this name, whichever it is.
    fn following(server: &Server) -> mpsc::UnboundedReceiver<String> {
        let (sender, shown) = mpsc::unbounded_channel();
        let client = server.client.clone();
        tokio::spawn(async move {
            let path = format!("{}?", super::super::path::load_balancers(None));
            let show = |changes: Vec<Change>| {
                let mut is_read = true;
                for Change { happened, object } in changes {
                    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap();
                    is_read &= sender.send(format!("{happened} {name}")).is_ok();
                }
                Ok(is_read)
            };
            changes(&client, &path, show).await
        });
        shown
    }

    async fn create(server: &Server, name: &str) {
        let object = json!({
            "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "LoadBalancer", "metadata": {"name": name},
            "spec": {"listeners": [{"port": 80, "protocol": "TCP", "backendPort": 8080}]},
        });
        server.client.post(&super::super::path::load_balancers(Some("shop")), &object).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_missed_while_the_agent_was_gone_is_found_by_a_list() {
        let server = Server::with_pool("cli-follow").await;
        create(&server, "a").await;
        let mut shown = following(&server);
        assert_eq!(shown.recv().await.unwrap(), "ADDED a");
        create(&server, "b").await;
        assert_eq!(shown.recv().await.unwrap(), "ADDED b");
        server.stop().await;
        // This one has another store, whose revisions are older.
        let server = Server::start("cli-follow").await;
        create(&server, "c").await;
        let mut told = Vec::new();
        while told.len() < 3 {
            told.push(shown.recv().await.unwrap());
        }
        told.sort_unstable();
        assert_eq!(told, ["ADDED c", "DELETED a", "DELETED b"]);
        create(&server, "d").await;
        assert_eq!(shown.recv().await.unwrap(), "ADDED d");
        server.stop().await;
    }

    #[tokio::test]
    async fn an_agent_that_is_not_there_at_the_beginning_is_not_waited_for() {
        let client = Client::new(std::path::Path::new("/nonexistent/lb.sock"));
        let error = changes(&client, "/x?", |_| Ok(true)).await.unwrap_err();
        assert!(error.to_string().starts_with("no agent answers at /nonexistent/lb.sock"), "{error}");
    }
}
