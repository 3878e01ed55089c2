//! `/lb/v1/flows`: one flow a line, each a JSON object, and a last line `{"summary": …}`.

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use super::Api;
use super::failure::Failure;
use super::reports::report;
use crate::control::flows::{Listing, Query as FlowQuery, RawQuery};

/// Bytes that are gathered before they are sent.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a slow reader; then the writer waits.
const WAITING_CHUNKS: usize = 4;

pub(super) async fn list(State(api): State<Api>, Query(query): Query<RawQuery>) -> Result<Response, Failure> {
    let query = FlowQuery::check(&query).map_err(Failure::bad_request)?;
    let backends = report(&api).await?.backends;
    let lister = api.flows.clone();
    let listing = tokio::task::spawn_blocking(move || lister.list(&query, &backends)).await;
    let listing = listing.map_err(|error| Failure::unavailable(error.to_string()))?;
    let listing = listing.map_err(|error| Failure::unavailable(error.to_string()))?;
    let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
    tokio::task::spawn_blocking(move || write(&listing, &sender));
    let stream = futures_util::stream::unfold(chunks, |mut chunks| async {
        let chunk: Bytes = chunks.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), chunks))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

/// Writes all lines, or as many as somebody wants to read.
fn write(listing: &Listing, sender: &mpsc::Sender<Bytes>) {
    let mut text = Vec::with_capacity(CHUNK + 1024);
    for row in listing.rows() {
        line(&mut text, &row);
        if text.len() >= CHUNK && sender.blocking_send(std::mem::take(&mut text).into()).is_err() {
            return;
        }
    }
    line(&mut text, &serde_json::json!({ "summary": listing.summary }));
    // Nobody is left who would miss it.
    drop(sender.blocking_send(text.into()));
}

fn line(text: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Strings and numbers can always be written to memory.
    drop(serde_json::to_writer(&mut *text, value));
    text.push(b'\n');
}
