//! `/lb/v1/trace`; and `/lb/v1/capture` and `/lb/v1/events`: one packet or event a line, each a JSON object, and a
//! last line `{"summary": …}`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Api;
use super::failure::Failure;
use super::reports::report;
use crate::control::observe::{ObservePackets, RawCapture, RawEvents, RawTrace, Stream, TraceReport};

/// Batches that wait for a slow reader; then the ring buffer fills, and what comes is lost and counted.
const WAITING_BATCHES: usize = 16;

pub(super) async fn trace(
    State(api): State<Api>,
    Json(question): Json<RawTrace>,
) -> Result<Json<TraceReport>, Failure> {
    let report = report(&api).await?;
    let observer = api.observer.clone();
    let traced = spawn_blocking(move || observer.trace(&question, &report)).await;
    let traced = traced.map_err(|error| Failure::unavailable(error.to_string()))?;
    Ok(Json(traced.map_err(|error| failure(&error))?))
}

pub(super) async fn capture(
    State(api): State<Api>,
    Query(question): Query<RawCapture>,
) -> Result<Response, Failure> {
    let backends = report(&api).await?.backends;
    let observer = api.observer.clone();
    let started = spawn_blocking(move || observer.capture(&question, &backends)).await;
    let started = started.map_err(|error| Failure::unavailable(error.to_string()))?;
    Ok(streamed(started.map_err(|error| failure(&error))?))
}

pub(super) async fn events(
    State(api): State<Api>,
    Query(question): Query<RawEvents>,
) -> Result<Response, Failure> {
    let backends = report(&api).await?.backends;
    let observer = api.observer.clone();
    let started = spawn_blocking(move || observer.events(&question, &backends)).await;
    let started = started.map_err(|error| Failure::unavailable(error.to_string()))?;
    Ok(streamed(started.map_err(|error| failure(&error))?))
}

fn streamed(source: impl Stream + Send + 'static) -> Response {
    let (sender, batches) = mpsc::channel(WAITING_BATCHES);
    spawn_blocking(move || write(source, &sender));
    let stream = futures_util::stream::unfold(batches, |mut batches| async {
        let batch: Bytes = batches.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(batch), batches))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
}

fn failure(error: &ObservePackets) -> Failure {
    match error {
        ObservePackets::Wrong { .. } => Failure::bad_request(error.to_string()),
        ObservePackets::Datapath(_) => Failure::unavailable(error.to_string()),
    }
}

/// Writes until the end, or until nobody reads any more.
fn write(mut source: impl Stream, sender: &mpsc::Sender<Bytes>) {
    // Tells the reader that it has begun.
    let mut text = b"{\"started\":true}\n".to_vec();
    loop {
        if sender.is_closed() || (!text.is_empty() && sender.blocking_send(text.into()).is_err()) {
            return;
        }
        text = Vec::new();
        match source.more() {
            Ok(Some(items)) => items.iter().for_each(|item| line(&mut text, item)),
            Ok(None) => break,
            Err(error) => {
                tracing::warn!("capture or events: {error}");
                return;
            }
        }
    }
    match source.summary() {
        Ok(summary) => line(&mut text, &serde_json::json!({ "summary": summary })),
        Err(error) => tracing::warn!("capture or events: {error}"),
    }
    // The programs are put back, or told to be silent, before the reader learns of the end.
    drop(source);
    drop(sender.blocking_send(text.into()));
}

fn line(text: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Strings and numbers can always be written to memory.
    drop(serde_json::to_writer(&mut *text, value));
    text.push(b'\n');
}
