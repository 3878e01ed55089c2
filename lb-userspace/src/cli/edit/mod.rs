//! `lb edit`: an object as YAML in the user's editor.
//!
//! What the agent refuses comes back with the reasons as comments. A text that is not taken is kept in its file.

mod editor;
mod text;

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

use super::Namespace;
use super::client::{Client, RequestError};
use super::diff::{unified, without_state, written};
use super::kind::Kind;
use super::output::Format;
use editor::{Draft, Interrupts};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb edit loadbalancer front -n shop
  EDITOR='code --wait' lb edit pool lab

The editor is VISUAL, else EDITOR, else vi. Nothing is sent if nothing is changed. What is refused is opened again with the
reasons; saving it as it is gives up, and the text is kept.")]
pub(super) struct Arguments {
    /// What it is
    #[arg(value_enum)]
    kind: Kind,
    /// Its name
    name: String,
    #[command(flatten)]
    namespace: Namespace,
    /// The editor [default: VISUAL, else EDITOR, else vi]
    #[arg(long, value_name = "COMMAND")]
    editor: Option<String>,
}

impl Arguments {
    fn subject(&self) -> String {
        match self.kind {
            Kind::LoadBalancer => format!("LoadBalancer {}/{}", self.namespace.namespace, self.name),
            Kind::IpPool => format!("IPPool {}", self.name),
        }
    }
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    let live = client.get(&arguments.kind.path(&arguments.namespace.namespace, &arguments.name)).await?;
    let greeting =
        format!("Change {} and leave the editor. An empty file changes nothing.", arguments.subject());
    let mut draft = Draft::create(&arguments.name, &text::with_notes(&greeting, &written(&live)?))?;
    match converse(client, arguments, live, &mut draft).await {
        Ok(Some(answer)) => {
            draft.discard();
            format.show(&answer, || Ok(format!("{} configured\n", arguments.subject())))
        }
        Ok(None) => {
            draft.discard();
            Ok(format!("{} unchanged\n", arguments.subject()))
        }
        Err(error) if draft.is_touched() => Err(error.context(draft.whereabouts())),
        Err(error) => {
            draft.discard();
            Err(error)
        }
    }
}

/// Edits until the agent takes it, or the user gives up. Gives the object as it is then, if it has changed.
async fn converse(
    client: &Client,
    arguments: &Arguments,
    mut live: Value,
    draft: &mut Draft,
) -> anyhow::Result<Option<Value>> {
    let mut refused: Option<(String, anyhow::Error)> = None;
    loop {
        let text = draft.edit(arguments.editor.as_deref()).await?;
        // What came while the editor was there was the editor's.
        tokio::task::yield_now().await;
        let mut interrupts = Interrupts::listen()?;
        match refused.take() {
            Some((before, reason)) if before == text => return Err(reason),
            Some(_) | None => {}
        }
        let body = text::without_notes(&text);
        if body.trim().is_empty() {
            return Ok(None);
        }
        let unsent = match text::understand(body, arguments.kind, &live) {
            Err(problem) => Unsent::Refused(problem),
            Ok(object) if object == without_state(live.clone()) => return Ok(None),
            Ok(object) => tokio::select! {
                sent = send(client, arguments, &mut live, object) => match sent {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(unsent) => unsent,
                },
                () = interrupts.next() => Unsent::Failed(anyhow!("interrupted before there was an answer")),
            },
        };
        let again = text::with_notes(&unsent.note()?, body);
        draft.write(&again)?;
        if let Unsent::Refused(reason) = unsent {
            refused = Some((again, anyhow!(reason)));
        }
    }
}

/// Why an object is as it was.
enum Unsent {
    /// For a reason that an edit may mend.
    Refused(String),
    /// Somebody else has changed it, as this difference says.
    Overtaken(String),
    /// Nobody answers, or the object is gone.
    Failed(anyhow::Error),
}

impl Unsent {
    /// What the user is told when the text is opened again.
    fn note(&self) -> anyhow::Result<String> {
        match self {
            Self::Refused(reason) => Ok(format!("Not taken: {reason}")),
            Self::Overtaken(difference) => Ok(format!(
                "Not taken yet: somebody else has changed it in the meantime, as below. Saving this text undoes that \
                 where the text says otherwise.\n{difference}"
            )),
            Self::Failed(error) => Err(anyhow!("{error:#}")),
        }
    }
}

/// Replaces the object that was seen. If it is another by now, the user is told once how; `live` is what was told.
async fn send(
    client: &Client,
    arguments: &Arguments,
    live: &mut Value,
    object: Value,
) -> Result<Value, Unsent> {
    let path = arguments.kind.path(&arguments.namespace.namespace, &arguments.name);
    loop {
        let version = live.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        let mut body = object.clone();
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), version);
        }
        match client.put(&path, &body).await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_conflict() => {
                let newer = client.get(&path).await.map_err(|error| Unsent::Failed(error.into()))?;
                let (seen, there) = (written(live), written(&newer));
                let (seen, there) = (seen.map_err(Unsent::Failed)?, there.map_err(Unsent::Failed)?);
                *live = newer;
                // The agent itself writes states all the time: these are in nobody's way.
                if seen != there {
                    return Err(Unsent::Overtaken(unified(&arguments.name, &seen, &there)));
                }
            }
            Err(RequestError::Refused { code, message, .. })
                if code.is_client_error() && code.as_u16() != 404 =>
            {
                return Err(Unsent::Refused(message));
            }
            Err(error) => return Err(Unsent::Failed(error.into())),
        }
    }
}
