//! `/lb/v1/status` and `/lb/v1/backends`: what the control loop tells.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::failure::Failure;
use crate::control::report::{BackendsReport, NodeReport, Report};

const SILENT: &str = "the control loop does not answer; the agent is stopping";

pub(super) async fn status(State(api): State<Api>) -> Result<Json<NodeReport>, Failure> {
    Ok(Json(report(&api).await?.node))
}

pub(super) async fn backends(State(api): State<Api>) -> Result<Json<BackendsReport>, Failure> {
    Ok(Json(report(&api).await?.backends))
}

pub(super) async fn report(api: &Api) -> Result<Report, Failure> {
    api.reports.ask().await.ok_or_else(|| Failure::unavailable(SILENT))
}
