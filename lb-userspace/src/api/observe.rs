//! `/lb/v1/trace`, and `/lb/v1/capture`: one packet a line, each a JSON object, and a last line
//! `{"summary": …}`.

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
use crate::control::observe::{Captures, ObservePackets, RawCapture, RawTrace, TraceReport};

/// Batches of packets that wait for a slow reader; then the ring buffer fills, and packets are lost and counted.
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
    let captures = started.map_err(|error| failure(&error))?;
    let (sender, batches) = mpsc::channel(WAITING_BATCHES);
    spawn_blocking(move || write(captures, &sender));
    let stream = futures_util::stream::unfold(batches, |mut batches| async {
        let batch: Bytes = batches.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(batch), batches))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

fn failure(error: &ObservePackets) -> Failure {
    match error {
        ObservePackets::Wrong { .. } => Failure::bad_request(error.to_string()),
        ObservePackets::Datapath(_) => Failure::unavailable(error.to_string()),
    }
}

/// Writes packets until the end, or until nobody reads them any more.
fn write(mut captures: Captures, sender: &mpsc::Sender<Bytes>) {
    // Tells the reader that the capture has begun.
    let mut text = b"{\"started\":true}\n".to_vec();
    loop {
        if sender.is_closed() || (!text.is_empty() && sender.blocking_send(text.into()).is_err()) {
            return;
        }
        text = Vec::new();
        match captures.more() {
            Ok(Some(packets)) => packets.iter().for_each(|packet| line(&mut text, packet)),
            Ok(None) => break,
            Err(error) => {
                tracing::warn!("capture: {error}");
                return;
            }
        }
    }
    match captures.summary() {
        Ok(summary) => line(&mut text, &serde_json::json!({ "summary": summary })),
        Err(error) => tracing::warn!("capture: {error}"),
    }
    // The programs are put back before the reader learns of the end.
    drop(captures);
    drop(sender.blocking_send(text.into()));
}

fn line(text: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Strings and numbers can always be written to memory.
    drop(serde_json::to_writer(&mut *text, value));
    text.push(b'\n');
}
