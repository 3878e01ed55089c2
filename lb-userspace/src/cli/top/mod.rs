//! `lb top`.
//!
//! Input: what the agent has counted, asked for again and again. Output: what happened a second in between: at a terminal in
//! its place, elsewhere one table after the other.

mod amount;
mod rates;
mod screen;
mod stop;
mod view;

use std::io::IsTerminal;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::client::{Client, RequestError};
use super::output::Format;
use super::{Namespace, path};
use crate::control::report::{BackendsReport, NodeReport};
use rates::By;
use screen::Screen;
use stop::Stops;
use view::{Sample, View};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb top -A
  lb top front -n shop --interval 5
  lb top -A --once --by bytes -o json

Packets and bytes are those of both directions, bytes those of frames. LIVE counts flows that are not over.")]
pub(super) struct Arguments {
    /// One load balancer [default: all of the namespace]
    name: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    /// Seconds from one look to the next
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "SECONDS")]
    interval: u64,
    /// What comes first
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// End after so many looks [default: none at a terminal, else 1]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// One look, and no screen of its own
    #[arg(long, conflicts_with = "count")]
    once: bool,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<()> {
    if let Some(name) = &arguments.name {
        // One that does not exist is an error, not an empty table.
        client.get(&path::load_balancer(&arguments.namespace.namespace, name)).await?;
    }
    if format != Format::Table || arguments.once || !std::io::stdout().is_terminal() {
        return print(client, arguments, format).await;
    }
    let screen = Screen::begin()?;
    // The screen is given back whatever ends this.
    let is_done = look(client, arguments, &screen).await?;
    let last = screen.end();
    // Whoever asked for so many looks has time to read the last one.
    if is_done { super::print(&last) } else { Ok(()) }
}

/// Looks again and again until somebody ends it; whether the looks that were asked for are done.
async fn look(client: &Client, arguments: &Arguments, screen: &Screen) -> anyhow::Result<bool> {
    const NO_SIGNALS: &str = "cannot wait for signals";
    let mut terminate = signal(SignalKind::terminate()).context(NO_SIGNALS)?;
    let mut quit = signal(SignalKind::quit()).context(NO_SIGNALS)?;
    let stops = Stops::begin().context(NO_SIGNALS)?;
    let mut looks = pin!(refresh(client, arguments, screen));
    loop {
        tokio::select! {
            result = &mut looks => return result.map(|()| true),
            result = tokio::signal::ctrl_c() => return result.map(|()| false).context(NO_SIGNALS),
            _ = terminate.recv() => return Ok(false),
            _ = quit.recv() => return Ok(false),
            result = stops.wished() => {
                result.context(NO_SIGNALS)?;
                screen.leave()?;
                stops.stop().context("cannot stop")?;
                screen.come_back()?;
            }
        }
    }
}

/// One view after the other.
async fn print(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<()> {
    let mut before = sample(client).await?;
    for _ in 0..arguments.count.unwrap_or(1) {
        tokio::time::sleep(arguments.pause()).await;
        let after = sample(client).await?;
        let view = arguments.view(&before, &after);
        let text = match format {
            Format::Table => view.text(),
            Format::Json | Format::Yaml => format.document(&serde_json::to_value(&view)?)?,
        };
        if !super::offer(&text)? {
            break;
        }
        before = after;
    }
    Ok(())
}

/// One view in the place of the other; an agent that is gone is waited for.
async fn refresh(client: &Client, arguments: &Arguments, screen: &Screen) -> anyhow::Result<()> {
    screen.draw("counting …\n")?;
    let mut before = sample(client).await?;
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        tokio::time::sleep(arguments.pause()).await;
        match sample(client).await {
            Ok(after) => {
                screen.draw(&arguments.view(&before, &after).text())?;
                before = after;
                left -= 1;
            }
            Err(error) if error.is_outage() => screen.draw("the agent is gone; waiting for it\n")?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What is counted now.
async fn sample(client: &Client) -> Result<Sample, RequestError> {
    let node: NodeReport = client.read("/lb/v1/status").await?;
    let backends: BackendsReport = client.read("/lb/v1/backends").await?;
    Ok(Sample { at: Instant::now(), node: node.node, reasons: node.reasons, backends })
}

impl Arguments {
    const fn pause(&self) -> Duration {
        Duration::from_secs(self.interval)
    }

    fn view(&self, before: &Sample, after: &Sample) -> View {
        let is_wanted = |namespace: &str, name: &str| {
            self.all_namespaces
                || (namespace == self.namespace.namespace
                    && self.name.as_deref().is_none_or(|wanted| wanted == name))
        };
        View::between(before, after, self.by, is_wanted)
    }
}
